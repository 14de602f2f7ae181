//! A probe origin on an address of its own.

use std::future::Ready;
use std::io;
use std::net::SocketAddr;

use tokio::sync::watch;

use super::ProbeOrigin;
use crate::config::{DoctorToken, ListenAddress};
use crate::downstream::{App, Client, ListeningSocket, Served, send_reply, serve_own};
use crate::http1::BadHead;

/// One whose socket is open.
pub struct OriginServer {
    socket: ListeningSocket,
    app: OriginApp,
}

struct OriginApp {
    origin: ProbeOrigin,
    token: DoctorToken,
}

impl OriginServer {
    /// Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr, token: DoctorToken) -> io::Result<Self> {
        let socket = ListeningSocket::open(&ListenAddress::Tcp(address), None)?;
        Ok(Self { socket, app: OriginApp { origin: ProbeOrigin::default(), token } })
    }

    /// Where it is, with the port that the kernel chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.tcp_address()
    }

    /// Answers until `stop` is ready.
    pub async fn run(self, stop: impl Future) {
        let (stopping, stopped) = watch::channel(false);
        let stop = async {
            stop.await;
            // Nobody listens any more if the accept loop has ended already.
            let _ = stopping.send(true);
        };
        tokio::join!(serve_own(self.socket, self.app, stopped), stop);
    }
}

impl App for OriginApp {
    type Relay = Ready<Box<Client>>;

    async fn serve(&self, mut client: Box<Client>, stopped: &watch::Receiver<bool>) -> Served<Self::Relay> {
        self.origin.answer(&mut client, &self.token, stopped).await;
        Served::Answered(client)
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        // Nobody keeps account of what is no order.
        let _ = send_reply(client, why.into()).await;
    }
}
