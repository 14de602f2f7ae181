//! A scripted backend over HTTP/1.1, on TCP or a Unix socket.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::connection::Connection;
use super::exchange::{Cues, Exchange};
use super::socket::{Listener, Port, accept_each};
use super::wire::SWITCHING;
use super::within::Within;

/// A backend that runs its script once per connection.
pub struct Backend {
    /// The URL for `servers` of an upstream.
    pub url: String,
    pub address: SocketAddr,
    stage: Arc<Stage>,
    said: mpsc::UnboundedReceiver<Said>,
    place: Place,
    /// `None` while the backend is down.
    accepting: Option<JoinHandle<()>>,
}

/// What a backend reports to the test.
#[derive(Debug)]
pub enum Said {
    /// It has read a request head.
    Request(String),
    /// Its connection or HTTP/2 stream ended.
    Closed(Instant),
}

/// Where the backend listens.
enum Place {
    Port(Port),
    Unix { _folder: TempDir },
}

/// What the backend does on each connection.
pub trait Script<P>: Fn(Exchange) -> P + Send + Sync + 'static {}

impl<P, F: Fn(Exchange) -> P + Send + Sync + 'static> Script<P> for F {}

/// A running script.
pub trait Playing: Future<Output = ()> + Send + 'static {}

impl<P: Future<Output = ()> + Send + 'static> Playing for P {}

/// State shared by its connections.
struct Stage {
    script: Box<dyn Script<Pin<Box<dyn Playing>>>>,
    cues: Cues,
    connections: AtomicUsize,
    running: Mutex<JoinSet<()>>,
}

impl Stage {
    /// Runs the script on every connection until the task is aborted.
    fn open(self: &Arc<Self>, listener: impl Listener) -> JoinHandle<()> {
        let stage = self.clone();
        let serve = move |io| {
            let number = stage.connections.fetch_add(1, Ordering::SeqCst);
            let connection = Connection::over(io, None);
            let playing = (stage.script)(Exchange { connection, cues: stage.cues.clone(), number });
            let mut running = stage.running.lock().expect("no panic");
            while running.try_join_next().is_some() {}
            running.spawn(playing);
        };
        tokio::spawn(accept_each(listener, serve))
    }
}

impl Backend {
    pub async fn script<P: Playing>(script: impl Script<P>) -> Self {
        Self::script_at((Ipv4Addr::LOCALHOST, 0), script).await
    }

    /// Like [`Self::script`], at another local address, such as 127.0.0.2 or ::1. Port 0 lets the kernel
    /// choose one.
    pub async fn script_at<P: Playing>(address: impl Into<SocketAddr>, script: impl Script<P>) -> Self {
        let port = Port::of(address);
        let address = port.address;
        let mut backend = Self::new(format!("http://{address}"), address, Place::Port(port), script);
        backend.comes_back().await;
        backend
    }

    /// Like [`Self::script`], on a Unix socket.
    pub async fn script_on_unix<P: Playing>(script: impl Script<P>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("backend.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let url = format!("unix:{}", path.display());
        let mut backend = Self::new(url, nowhere, Place::Unix { _folder: folder }, script);
        backend.accepting = Some(backend.stage.open(listener));
        backend
    }

    fn new<P: Playing>(url: String, address: SocketAddr, place: Place, script: impl Script<P>) -> Self {
        let (say, said) = mpsc::unbounded_channel();
        let stage = Arc::new(Stage {
            script: Box::new(move |exchange| Box::pin(script(exchange))),
            cues: Cues { say, go_on: Arc::new(Semaphore::new(0)) },
            connections: AtomicUsize::new(0),
            running: Mutex::default(),
        });
        Self { url, address, stage, said, place, accepting: None }
    }

    /// A backend that answers every request on every connection with these bytes.
    pub async fn that_answers(response: impl AsRef<[u8]>) -> Self {
        let response = response.as_ref().to_vec();
        Self::script(move |mut exchange| {
            let response = response.clone();
            async move {
                while exchange.request().await.is_some() {
                    exchange.send(&response).await;
                }
            }
        })
        .await
    }

    /// A backend that answers one request per connection with these bytes, and then waits until the
    /// connection ends.
    pub async fn that_begins(answer: impl AsRef<[u8]>) -> Self {
        let answer = answer.as_ref().to_vec();
        Self::script(move |mut exchange| {
            let answer = answer.clone();
            async move {
                exchange.request().await;
                exchange.send(answer).await;
                exchange.closed().await;
            }
        })
        .await
    }

    /// A backend that reads requests and stays silent until its connection ends.
    pub async fn that_never_answers() -> Self {
        Self::that_begins("").await
    }

    /// A backend that accepts connections, reads everything, answers nothing and never closes.
    pub async fn that_swallows() -> Self {
        Self::script(|mut exchange| async move {
            exchange.rest().await;
            std::future::pending().await
        })
        .await
    }

    /// A backend that is down until it [comes back](Self::comes_back); its port refuses connections until
    /// then. After that it behaves like [`Self::that_swallows`].
    pub async fn that_is_down() -> Self {
        let mut backend = Self::that_swallows().await;
        backend.stops_listening().await;
        backend
    }

    /// A WebSocket backend that sends back everything it receives.
    pub async fn that_echoes() -> Self {
        Self::script(|mut exchange| async move {
            if exchange.request().await.is_some() {
                exchange.send(SWITCHING).await;
                exchange.echo().await;
            }
        })
        .await
    }

    /// Closes its listener, so that its port refuses connections. Open connections continue.
    pub async fn stops_listening(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Closes its listener and all connections, as if its process was killed.
    pub async fn dies(&mut self) {
        self.stops_listening().await;
        let mut running = std::mem::take(&mut *self.stage.running.lock().expect("no panic"));
        running.shutdown().await;
    }

    /// Listens again on the same port.
    pub async fn comes_back(&mut self) {
        self.stops_listening().await;
        let Place::Port(port) = &self.place else { panic!("only ports are opened again") };
        self.accepting = Some(self.stage.open(port.listen()));
    }

    /// Releases one [`Exchange::wait`].
    pub fn go_on(&self) {
        self.stage.cues.go_on.add_permits(1);
    }

    /// Number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.stage.connections.load(Ordering::SeqCst)
    }

    /// Waits for a request and returns its head.
    pub async fn saw_request(&mut self) -> String {
        loop {
            if let Said::Request(head) = self.said.recv().soon().await.expect("a backend") {
                return head;
            }
        }
    }

    /// Waits until a connection or HTTP/2 stream ends. Returns the time at which it did.
    pub async fn saw_close(&mut self) -> Instant {
        loop {
            if let Said::Closed(at) = self.said.recv().soon().await.expect("a backend") {
                return at;
            }
        }
    }
}
