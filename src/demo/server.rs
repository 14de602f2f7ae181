//! A server of the demo: a model on a port of its own, which can be killed and brought back.

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
    /// Tokens that each of its streams gets a second.
    pub speed: u32,
    requests: Arc<AtomicU64>,
    /// Keeps the port for it while nobody listens there.
    _port: TcpSocket,
    /// `None` while it is down.
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl DemoServer {
    /// On a port that the kernel gives. `requests`: counts those of all servers. Must be called within a tokio runtime.
    pub fn start(speed: u32, requests: Arc<AtomicU64>) -> io::Result<Self> {
        let port = TcpSocket::new_v4()?;
        // Sockets share an address where each says so and one of them listens.
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let listening = Mutex::new(Some(Listening::start(address, speed, &requests)?));
        Ok(Self { address, speed, requests, _port: port, listening })
    }

    /// Its port refuses connections from now on, and those that are open break.
    pub async fn go_down(&self) {
        if let Some(Listening { stop, accepting }) = self.listening.lock().await.take() {
            // Nobody listens any more if the accept loop has ended already.
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

/// Kills a server and brings it back, for whoever asks for it.
pub struct Switch(pub Arc<DemoServer>);

impl Switch {
    async fn turn(&self, method: &Method, path: &str) -> (StatusCode, &'static str) {
        let speed = self.0.speed;
        match (method, path) {
            (&Method::POST, "/down") => {
                self.0.go_down().await;
                tracing::warn!(target: "model", "the server at {speed} tokens/s is DOWN: its port refuses connections");
                (StatusCode::OK, "it is down\n")
            }
            (&Method::POST, "/up") => match self.0.come_up().await {
                Ok(()) => {
                    tracing::info!(target: "model", "the server at {speed} tokens/s is up");
                    (StatusCode::OK, "it is up\n")
                }
                Err(error) => {
                    tracing::error!(target: "model", %error, "the server cannot come back");
                    (StatusCode::INTERNAL_SERVER_ERROR, "it cannot come back: its log says why\n")
                }
            },
            _ => (StatusCode::NOT_FOUND, "try POST /down or POST /up\n"),
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
        // Nobody keeps account of a demo.
        let _ = send_reply(client, why.into()).await;
    }
}
