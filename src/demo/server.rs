//! A server of the demo: a model on its own port, which can be killed and brought back.

use std::future::Ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{Method, StatusCode};
use tokio::net::TcpSocket;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::backend::Backend;
use crate::config::ListenAddress;
use crate::downstream::own_app;
use crate::downstream::{App, Client, ListeningSocket, Served, send_reply, serve_own};
use crate::http1::BadHead;

/// A server, up or down.
pub struct DemoServer {
    pub address: SocketAddr,
    /// Tokens per second of each stream.
    pub speed: u32,
    requests: Arc<AtomicU64>,
    /// Reserves the port while the server is down.
    _port: TcpSocket,
    /// `None` while it is down.
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl DemoServer {
    /// Listens on a free port. `requests`: the counter shared by all servers. Must be called within a tokio
    /// runtime.
    pub fn start(speed: u32, requests: Arc<AtomicU64>) -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        // With SO_REUSEADDR on both, this socket may be bound while another one listens.
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let listening = Mutex::new(Some(Listening::start(address, speed, &requests)?));
        Ok(Self { address, speed, requests, _port: port, listening })
    }

    /// Closes the port and breaks open connections.
    pub async fn go_down(&self) {
        if let Some(Listening { stop, accepting }) = self.listening.lock().await.take() {
            // Fails if the accept loop has already ended.
            let _ = stop.send(true);
            let _ = accepting.await;
        }
    }

    pub async fn come_up(&self) -> io::Result<()> {
        let mut listening = self.listening.lock().await;
        if listening.is_none() {
            *listening = Some(Listening::start(self.address, self.speed, &self.requests)?);
        }
        Ok(())
    }
}

impl Listening {
    fn start(address: SocketAddr, speed: u32, requests: &Arc<AtomicU64>) -> io::Result<Self> {
        let socket = ListeningSocket::open(&ListenAddress::Tcp(address), None)?;
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(serve_own(socket, Backend::new(speed, requests.clone()), stopped));
        Ok(Self { stop, accepting })
    }
}

/// Kills a server and brings it back on request.
pub struct Switch(pub Arc<DemoServer>);

impl Switch {
    async fn turn(&self, method: &Method, path: &str) -> (StatusCode, &'static str) {
        let speed = self.0.speed;
        match (method, path) {
            (&Method::POST, "/down") => {
                self.0.go_down().await;
                tracing::warn!(target: "model", "the server at {speed} tokens/s is DOWN: its port refuses connections");
                (StatusCode::OK, "the server is down\n")
            }
            (&Method::POST, "/up") => match self.0.come_up().await {
                Ok(()) => {
                    tracing::info!(target: "model", "the server at {speed} tokens/s is up");
                    (StatusCode::OK, "the server is up\n")
                }
                Err(error) => {
                    tracing::error!(target: "model", %error, "the server cannot listen again");
                    (StatusCode::INTERNAL_SERVER_ERROR, "the server cannot listen again: see the log\n")
                }
            },
            _ => (StatusCode::NOT_FOUND, "not found: use POST /down or POST /up\n"),
        }
    }
}

impl App for Switch {
    type Relay = Ready<Box<Client>>;

    async fn serve(&self, mut client: Box<Client>, _: &watch::Receiver<bool>) -> Served<Self::Relay> {
        let (method, path) = (client.request().method.clone(), client.request().path().into_owned());
        let (status, text) = self.turn(&method, &path).await;
        if own_app::respond(&mut client, status, "text/plain", &[], text.as_bytes()).await.is_err() {
            client.abandon();
        }
        Served::Answered(client)
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        // The demo keeps no statistics.
        let _ = send_reply(client, why.into()).await;
    }
}
