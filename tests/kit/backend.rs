use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::Within;

/// A backend that does exactly what its script says, once per connection.
pub struct Backend {
    pub address: SocketAddr,
    said: mpsc::UnboundedReceiver<Said>,
    connections: Arc<AtomicUsize>,
    go_on: Arc<Semaphore>,
}

/// What a backend tells the test.
#[derive(Debug)]
pub enum Said {
    /// It has read the head of a request.
    Request(String),
    /// It saw its connection end.
    Closed(Instant),
}

/// A connection as the backend sees it.
pub struct Exchange {
    tcp: TcpStream,
    buffer: Vec<u8>,
    say: mpsc::UnboundedSender<Said>,
    go_on: Arc<Semaphore>,
    /// Counts the connections of this backend from 0.
    pub number: usize,
}

impl Backend {
    pub async fn script<F, Fut>(script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::script_at(Ipv4Addr::LOCALHOST, script).await
    }

    /// The same at another address of this machine.
    pub async fn script_at<F, Fut>(ip: Ipv4Addr, script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (say, said) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let go_on = Arc::new(Semaphore::new(0));
        let words = go_on.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).expect("a socket");
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (say, go_on) = (say.clone(), words.clone());
                tokio::spawn(script(Exchange { tcp, buffer: Vec::new(), say, go_on, number }));
            }
        });
        Self { address, said, connections, go_on }
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

    /// A backend that reads requests and stays silent until its connection ends.
    pub async fn that_never_answers() -> Self {
        Self::script(|mut exchange| async move {
            exchange.request().await;
            exchange.closed().await;
        })
        .await
    }

    /// Lets one [`Exchange::wait`] go on.
    pub fn go_on(&self) {
        self.go_on.add_permits(1);
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits for a request and returns its head.
    pub async fn saw_request(&mut self) -> String {
        loop {
            if let Said::Request(head) = self.said.recv().soon().await.expect("a backend") {
                return head;
            }
        }
    }

    /// Waits for a connection to end and returns when it did.
    pub async fn saw_close(&mut self) -> Instant {
        loop {
            if let Said::Closed(at) = self.said.recv().soon().await.expect("a backend") {
                return at;
            }
        }
    }
}

impl Exchange {
    /// Waits until the test says [`Backend::go_on`].
    pub async fn wait(&self) {
        self.go_on.acquire().await.expect("a test that lives").forget();
    }

    /// Reads the head of the next request; `None` if the connection ended.
    pub async fn request(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read_more().await == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head in ASCII");
        let _ = self.say.send(Said::Request(head.clone()));
        Some(head)
    }

    /// Reads the next request with its body, and returns its head; `None` if the connection ended.
    pub async fn whole_request(&mut self) -> Option<String> {
        let head = self.request().await?;
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map(|rest| rest.lines().next().and_then(|length| length.parse().ok()).expect("a length"));
        self.body(length.unwrap_or(0)).await;
        Some(head)
    }

    /// Reads exactly so many bytes of a request body.
    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert_ne!(self.read_more().await, 0, "the body ended early");
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads up to and with these bytes.
    pub async fn body_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                return self.buffer.drain(..at + end.len()).collect();
            }
            assert_ne!(self.read_more().await, 0, "the body ended early");
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A peer that is gone is what some tests are about.
        let _ = self.tcp.write_all(bytes.as_ref()).await;
    }

    /// Sends until the peer is gone; returns how many bytes went out.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.tcp.write_all(bytes.as_ref()).await
    }

    /// Sends back whatever comes, until its end.
    pub async fn echo(&mut self) {
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            self.send(bytes).await;
            if self.read_more().await == 0 {
                let _ = self.say.send(Said::Closed(Instant::now()));
                return;
            }
        }
    }

    /// Closes the sending side only.
    pub async fn half_close(&mut self) {
        // A peer that is gone is what some tests are about.
        let _ = self.tcp.shutdown().await;
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.read_more().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the connection to end, and tells the test.
    pub async fn closed(&mut self) {
        while self.read_more().await > 0 {}
        let _ = self.say.send(Said::Closed(Instant::now()));
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.tcp);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    async fn read_more(&mut self) -> usize {
        self.tcp.read_buf(&mut self.buffer).await.unwrap_or(0)
    }
}
