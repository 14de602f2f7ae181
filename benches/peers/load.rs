//! Lightweight clients, which count events without parsing them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use crate::certificate::Certificate;
use crate::event::{age, count};
use crate::sockets::{discard, read};

/// A skimming client counts events in one of this many reads.
const LOOKED_AT: usize = 16;
/// The HTTP/2 flow-control window, large enough never to limit a proxy.
const WINDOW: u32 = 16 << 20;

/// Counters of the clients of one proxy.
#[derive(Default)]
pub struct Seen {
    pub is_measuring: Cell<bool>,
    /// Whether clients may request further short streams.
    pub turn: watch::Sender<bool>,
    pub events: Cell<u64>,
    pub bytes: Cell<u64>,
    /// Bytes in which events were counted.
    pub looked_at: Cell<u64>,
    pub reads: Cell<u64>,
    /// The time in ns from the backend's write to the client's read, one per read.
    pub ages: RefCell<Vec<u64>>,
    /// Streams that have received a byte.
    pub begun: Cell<u64>,
    /// Streams that ended completely.
    pub ended: Cell<u64>,
    /// Streams that broke.
    pub broken: Cell<u64>,
    /// The times of reads with the gaps before them, if gaps are measured.
    pub gaps: Option<RefCell<Vec<(Instant, Duration)>>>,
}

impl Seen {
    fn read(&self, bytes: &[u8]) {
        if self.is_measuring.get() {
            add(&self.events, count(bytes));
            add(&self.bytes, bytes.len() as u64);
            add(&self.looked_at, bytes.len() as u64);
            add(&self.reads, 1);
            if let Some(age) = age(bytes) {
                self.ages.borrow_mut().push(age);
            }
        }
    }

    /// The number of events, extrapolated to the bytes in which they were not counted.
    pub fn all_events(&self) -> f64 {
        self.events.get() as f64 * self.bytes.get() as f64 / self.looked_at.get().max(1) as f64
    }

    /// Resets the counters of a slice.
    pub fn forget(&self) {
        for count in [&self.events, &self.bytes, &self.looked_at, &self.reads, &self.ended] {
            count.take();
        }
    }

    fn gap(&self, last: &mut Option<Instant>) {
        if let Some(gaps) = &self.gaps {
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                gaps.borrow_mut().push((now, now - last));
            }
        }
    }
}

fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

async fn connect(address: SocketAddr, path: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.expect("a proxy");
    tcp.set_nodelay(true).expect("a socket");
    ask(&mut tcp, path).await;
    tcp
}

async fn ask(tcp: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("a proxy");
}

/// Reads one stream over HTTP/1.1 until it ends.
pub fn stream(address: SocketAddr, path: &str, seen: &Rc<Seen>) -> JoinHandle<()> {
    let (path, seen) = (path.to_owned(), seen.clone());
    spawn_local(async move {
        let tcp = connect(address, &path).await;
        let (mut is_begun, mut last) = (false, None);
        loop {
            match read(&tcp, |bytes| seen.read(bytes)).await {
                Ok((0, ())) | Err(_) => return add(&seen.broken, 1),
                Ok(_) if !is_begun => {
                    is_begun = true;
                    add(&seen.begun, 1);
                }
                Ok(_) => seen.gap(&mut last),
            }
        }
    })
}

/// Discards most of a stream in the kernel, without a copy.
pub fn skimmed(address: SocketAddr, path: &str, seen: &Rc<Seen>) -> JoinHandle<()> {
    let (path, seen) = (path.to_owned(), seen.clone());
    spawn_local(async move {
        let tcp = connect(address, &path).await;
        for reads in 0.. {
            let read = if reads % LOOKED_AT == 0 {
                read(&tcp, |bytes| seen.read(bytes)).await.map(|(read, ())| read)
            } else {
                discard(&tcp).await
            };
            match read {
                Ok(0) | Err(_) => return add(&seen.broken, 1),
                Ok(_) if reads == 0 => add(&seen.begun, 1),
                Ok(read) if seen.is_measuring.get() && reads % LOOKED_AT != 0 => {
                    add(&seen.bytes, read as u64);
                }
                Ok(_) => {}
            }
        }
    })
}

/// Requests one short stream after the other on one connection, while `turn` is set. The first one runs
/// immediately.
pub fn short_streams(address: SocketAddr, path: &str, seen: &Rc<Seen>) -> JoinHandle<()> {
    let (path, seen) = (path.to_owned(), seen.clone());
    spawn_local(async move {
        let mut turn = seen.turn.subscribe();
        let mut tcp = connect(address, &path).await;
        let mut is_begun = false;
        loop {
            let read = read(&tcp, |bytes| {
                seen.read(bytes);
                bytes.ends_with(b"0\r\n\r\n")
            });
            match read.await {
                Ok((0, _)) | Err(_) => {
                    add(&seen.broken, 1);
                    tcp = connect(address, &path).await;
                }
                Ok((_, true)) => {
                    if !std::mem::replace(&mut is_begun, true) {
                        add(&seen.begun, 1);
                    }
                    if seen.is_measuring.get() {
                        add(&seen.ended, 1);
                    }
                    if turn.wait_for(|is_ours| *is_ours).await.is_err() {
                        return;
                    }
                    ask(&mut tcp, &path).await;
                }
                Ok(_) => {}
            }
        }
    })
}

/// Reads this many streams on one connection over TLS and HTTP/2.
pub fn http2(
    address: SocketAddr,
    path: &str,
    streams: usize,
    certificate: &Certificate,
    seen: &Rc<Seen>,
) -> JoinHandle<()> {
    let (path, seen, connector) = (path.to_owned(), seen.clone(), certificate.connector());
    spawn_local(async move {
        let tcp = TcpStream::connect(address).await.expect("a proxy");
        tcp.set_nodelay(true).expect("a socket");
        let tls = connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("TLS");
        let builder = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake::<_, bytes::Bytes>(tls);
        let (mut send, connection) = builder.await.expect("HTTP/2");
        // Aborted with this task.
        let connection = AbortOnDrop(spawn_local(async move {
            let _ = connection.await;
        }));
        let mut readers = Vec::new();
        for _ in 0..streams {
            send = send.ready().await.expect("a stream");
            let uri = format!("https://localhost:{}{path}", address.port());
            let request = http::Request::get(uri).body(()).expect("a request");
            let (response, _) = send.send_request(request, true).expect("a stream");
            readers.push(AbortOnDrop(spawn_local(read_http2(response, seen.clone()))));
        }
        let _kept = (connection, readers, send);
        std::future::pending().await
    })
}

async fn read_http2(response: h2::client::ResponseFuture, seen: Rc<Seen>) {
    let Ok(response) = response.await else { return add(&seen.broken, 1) };
    let mut body = response.into_body();
    let mut is_begun = false;
    while let Some(Ok(bytes)) = body.data().await {
        if !std::mem::replace(&mut is_begun, true) {
            add(&seen.begun, 1);
        }
        seen.read(&bytes);
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    add(&seen.broken, 1);
}

/// Aborts a task on drop.
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
