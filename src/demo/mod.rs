//! `sidestream demo`: servers that stream at the pace of a model and misbehave on request, sidestream in
//! front of them, and commands to try.

mod backend;
mod guide;
mod model;
mod scene;
mod server;
mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{
    self, AccessLogPolicy, Config, ConfigError, FailoverOn, ListenAddress, OutlierPolicy, UpstreamConfig,
};
use crate::downstream::{ListeningSocket, serve_own};
use crate::process::{Server, StartError, Stop};
use model::Manner;
use server::{DemoServer, Switch};

/// Short times, so that heartbeats and timeouts can be seen.
const HEARTBEAT: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Tokens per second of a stream, for each server. The first server can be killed.
const SPEEDS: [u32; 3] = [30, 15, 5];
/// `max_streams` of each server. Two servers can just about serve the background clients.
const MAX_STREAMS: NonZeroU32 = const { NonZeroU32::new(10).unwrap() };
const QUEUE_SIZE: usize = 100;
/// The demo's models fail often, but not this often in a row.
const CONSECUTIVE_FAILURES: NonZeroU32 = const { NonZeroU32::new(8).unwrap() };
const EJECTION_TIMES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Address(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot listen on a free port of 127.0.0.1 for the demo's servers: {0}")]
    Model(#[from] std::io::Error),
}

/// A demo whose sockets are bound.
pub struct Demo {
    models: Vec<Arc<DemoServer>>,
    switch: ListeningSocket,
    server: Server,
}

impl Demo {
    /// `listen` and `admin` are addresses as in the configuration file. Must be called within a tokio
    /// runtime.
    pub async fn bind(listen: &str, admin: &str) -> Result<Self, DemoError> {
        let requests = Arc::default();
        let models: Vec<_> = SPEEDS
            .map(|speed| DemoServer::start(speed, Arc::clone(&requests)).map(Arc::new))
            .into_iter()
            .collect::<Result<_, _>>()?;
        let urls: Vec<String> = models.iter().map(|model| format!("http://{}", model.address)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let mut config = config::from_flags(&[listen.to_owned()], &urls, Some(admin))?;
        shorten(&mut config);
        let switch = ListeningSocket::open(&ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into()), None)?;
        Ok(Self { models, switch, server: Server::bind(&config)? })
    }

    /// Plays the opening scene, prints the guide, and runs until `stop` resolves and the open streams have
    /// ended. `say` prints text.
    pub async fn run(self, stop: impl Future<Output = Stop>, say: impl Fn(&str)) {
        let addresses = guide::DemoAddresses {
            sidestream: self.server.addresses().into_iter().map(reachable).next(),
            admin: self.server.admin_address().map(reachable),
            models: self.models.iter().map(|model| (model.speed, model.address)).collect(),
            switch: self.switch.tcp_address(),
        };
        let (stopping, stopped) = watch::channel(false);
        if let Some(first) = self.models.first() {
            tokio::spawn(serve_own(self.switch, Switch(first.clone()), stopped));
        }
        let show = async {
            if let Some(address) = addresses.sidestream {
                scene::play(address, &say).await;
            }
            say(&addresses.guide());
        };
        let crowd = addresses.sidestream.map(|address| tokio::spawn(story::play(address)));
        let stop = async {
            let why = stop.await;
            // No new background clients.
            if let Some(crowd) = crowd {
                crowd.abort();
            }
            why
        };
        tokio::join!(self.server.run(stop), show);
        // Fails if the accept loop has already ended.
        let _ = stopping.send(true);
        for model in &self.models {
            model.go_down().await;
        }
    }
}

/// Shortens timeouts and sets limits, so that their effects show within seconds.
fn shorten(config: &mut Config) {
    // Standard output is for the guide.
    config.access_log = AccessLogPolicy::Off;
    config.server.drain_timeout = DRAIN_TIMEOUT;
    config.metrics.models = Manner::ALL.map(|manner| manner.model().to_owned()).into();
    for upstream in &mut config.upstreams {
        group(Arc::make_mut(upstream));
    }
    for route in &mut config.routes {
        let route = Arc::make_mut(route);
        group(Arc::make_mut(&mut route.upstream));
        route.stream.session.heartbeat = Some(HEARTBEAT);
        route.stream.session.idle_timeout = Some(IDLE_TIMEOUT);
    }
}

fn group(upstream: &mut UpstreamConfig) {
    upstream.servers.iter_mut().for_each(|server| server.max_streams = Some(MAX_STREAMS));
    upstream.queue.size = QUEUE_SIZE;
    // Sending a request twice costs nothing here.
    upstream.failover.on = vec![FailoverOn::Connect, FailoverOn::Reset];
    let [base_ejection_time, max_ejection_time] = EJECTION_TIMES;
    upstream.outlier_detection = Some(OutlierPolicy {
        consecutive_failures: CONSECUTIVE_FAILURES,
        base_ejection_time,
        max_ejection_time,
        ..OutlierPolicy::default()
    });
}

/// The address that a client on this machine connects to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}
