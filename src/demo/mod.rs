//! `sidestream demo`: a backend that streams at the pace of a model and misbehaves on request, sidestream in front of
//! it, and what to try.

mod backend;
mod guide;
mod model;
mod scene;
mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{self, AccessLogPolicy, ConfigError, ListenAddress};
use crate::downstream::{ListeningSocket, serve_own};
use crate::process::{Server, StartError, Stop};
use backend::Backend;
use model::Manner;

/// Short enough for somebody who tries it out to see them.
const HEARTBEAT: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Address(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot listen on a free port of 127.0.0.1 for the demo's model: {0}")]
    Model(#[from] std::io::Error),
}

/// A demo whose sockets are bound.
pub struct Demo {
    model: ListeningSocket,
    model_address: SocketAddr,
    server: Server,
}

impl Demo {
    /// `listen` and `admin` are addresses as in the configuration file. Must be called within a tokio runtime.
    pub async fn bind(listen: &str, admin: &str) -> Result<Self, DemoError> {
        let any_port = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let model = ListeningSocket::open(&any_port, None)?;
        let model_address =
            model.tcp_address().ok_or(std::io::Error::from(std::io::ErrorKind::AddrNotAvailable))?;
        let upstream = format!("http://{model_address}");
        let mut config = config::from_flags(&[listen.to_owned()], &upstream, Some(admin))?;
        // Standard output is for what the demo says.
        config.access_log = AccessLogPolicy::Off;
        config.metrics.models = Manner::ALL.map(|manner| manner.model().to_owned()).into();
        for route in &mut config.routes {
            let stream = &mut Arc::make_mut(route).stream;
            stream.session.heartbeat = Some(HEARTBEAT);
            stream.session.idle_timeout = Some(IDLE_TIMEOUT);
        }
        Ok(Self { model, model_address, server: Server::bind(&config)? })
    }

    /// Shows the main job, says what to try, and runs until `stop` is ready and the streams that are open then
    /// have ended. `say` is given lines to print.
    pub async fn run(self, stop: impl Future<Output = Stop>, say: impl Fn(&str)) {
        let (stopping, stopped) = watch::channel(false);
        tokio::spawn(serve_own(self.model, Backend::default(), stopped));
        let addresses = guide::DemoAddresses {
            sidestream: self.server.addresses().into_iter().map(reachable).next(),
            admin: self.server.admin_address().map(reachable),
            model: self.model_address,
        };
        let show = async {
            if let Some(address) = addresses.sidestream {
                scene::play(address, &say).await;
            }
            say(&addresses.guide());
        };
        let crowd = addresses.sidestream.map(|address| tokio::spawn(story::play(address)));
        let stop = async {
            let why = stop.await;
            // Nobody comes any more.
            if let Some(crowd) = crowd {
                crowd.abort();
            }
            why
        };
        tokio::join!(self.server.run(stop), show);
        // Nobody listens any more if the accept loop has ended already.
        let _ = stopping.send(true);
    }
}

/// The address that a client on this machine connects to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}
