//! The backend of all proxies, in a process of its own. It costs little: all paced streams share one timer, and each event is
//! one system call.
//!
//! The path says what is answered: `/paced/GAP_MS/SIZE/BURST`, `/fast/SIZE`, `/short/COUNT`, `/idle`; `/closed` tells when the
//! paced streams of the past were seen to end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::event::{Events, now};
use crate::kit::socket::{Port, accept_each};
use crate::kit::wire::{LAST_CHUNK, STREAM_HEAD};

/// The first argument that makes this program a backend.
pub const ROLE: &str = "backend";

/// Bytes that the kernel takes of a stream without pace before it is sent.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes that a stream without pace writes at once.
const BATCH: usize = 32 * 1024;

/// A backend process, ended when dropped.
pub struct Backend {
    pub address: SocketAddr,
    process: Child,
}

impl Backend {
    pub fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .arg(ROLE)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a backend");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("its address");
        Self { address: line.trim().parse().expect("an address"), process }
    }

    /// When the paced streams that ended since the last call were seen to end, in ns of the clock of [`now`].
    pub async fn closed(&self) -> Vec<u64> {
        let mut tcp = TcpStream::connect(self.address).await.expect("the backend");
        tcp.write_all(b"GET /closed HTTP/1.1\r\nHost: b\r\n\r\n").await.expect("the backend");
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.expect("times");
        let (_, times) = text.split_once("\r\n\r\n").expect("a body");
        times.split_whitespace().map(|time| time.parse().expect("a time")).collect()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the connections of a backend share.
#[derive(Default)]
struct Shared {
    pacers: RefCell<HashMap<u64, Rc<Pacer>>>,
    closed: RefCell<Vec<u64>>,
}

/// Runs as a backend, without end.
pub async fn run() {
    let port = Port::of((Ipv4Addr::LOCALHOST, 0));
    let listener = port.listen();
    println!("{}", port.address);
    let shared = Rc::new(Shared::default());
    let serve = |tcp| {
        let shared = shared.clone();
        tokio::task::spawn_local(async move {
            // It ends with its connection, one way or another.
            let _ = serve(tcp, &shared).await;
        });
    };
    tokio::task::LocalSet::new().run_until(accept_each(listener, serve)).await;
}

async fn serve(tcp: TcpStream, shared: &Rc<Shared>) -> std::io::Result<()> {
    let tcp = Rc::new(tcp);
    let mut reader = BufReader::with_capacity(1024, Reader(tcp.clone()));
    loop {
        let mut path = None;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            path.get_or_insert_with(|| line.split(' ').nth(1).unwrap_or_default().to_owned());
        }
        let path = path.unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default().to_owned();
        let mut number = || parts.next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
        match kind.as_str() {
            "paced" => {
                write_all(&tcp, STREAM_HEAD.as_bytes()).await?;
                let (gap, size, burst) = (number() as u64, number(), number());
                let pacer = pacer(shared, gap);
                pacer.add(PacedStream { tcp: tcp.clone(), events: Events::new(size, burst) });
                let _ = reader.read_u8().await;
                shared.closed.borrow_mut().push(now());
                pacer.remove(&tcp);
                return Ok(());
            }
            "fast" => {
                // What waits in the backend's own kernel is no proxy's doing, and by default it is megabytes.
                socket2::SockRef::from(&*tcp).set_send_buffer_size(SEND_BUFFER).expect("a socket");
                write_all(&tcp, STREAM_HEAD.as_bytes()).await?;
                let size = number();
                let mut events = Events::new(size, (BATCH / size).max(1));
                loop {
                    write_all(&tcp, events.stamped()).await?;
                }
            }
            "short" => {
                let mut answer = STREAM_HEAD.as_bytes().to_vec();
                answer.extend_from_slice(Events::new(120, number()).stamped());
                answer.extend_from_slice(LAST_CHUNK.as_bytes());
                write_all(&tcp, &answer).await?;
            }
            "closed" => {
                let times: Vec<String> =
                    shared.closed.borrow_mut().drain(..).map(|t| t.to_string()).collect();
                let body = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", times.join(" "));
                return write_all(&tcp, body.as_bytes()).await;
            }
            _ => {
                write_all(&tcp, STREAM_HEAD.as_bytes()).await?;
                write_all(&tcp, Events::new(120, 1).stamped()).await?;
            }
        }
    }
}

/// Writes to the streams of one gap, spread evenly over its milliseconds.
struct Pacer {
    slots: RefCell<Vec<Vec<PacedStream>>>,
    next: RefCell<usize>,
}

struct PacedStream {
    tcp: Rc<TcpStream>,
    events: Events,
}

fn pacer(shared: &Rc<Shared>, gap: u64) -> Rc<Pacer> {
    let start = || {
        let slots = (0..gap).map(|_| Vec::new()).collect();
        let pacer = Rc::new(Pacer { slots: RefCell::new(slots), next: RefCell::new(0) });
        let running = pacer.clone();
        tokio::task::spawn_local(async move { running.run().await });
        pacer
    };
    shared.pacers.borrow_mut().entry(gap).or_insert_with(start).clone()
}

impl Pacer {
    fn add(&self, stream: PacedStream) {
        let mut slots = self.slots.borrow_mut();
        let mut next = self.next.borrow_mut();
        *next = (*next + 1) % slots.len();
        slots[*next].push(stream);
    }

    fn remove(&self, tcp: &Rc<TcpStream>) {
        for slot in self.slots.borrow_mut().iter_mut() {
            slot.retain(|stream| !Rc::ptr_eq(&stream.tcp, tcp));
        }
    }

    async fn run(&self) {
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for slot in (0..).map(|tick: usize| tick % self.slots.borrow().len()) {
            ticks.tick().await;
            for stream in &mut self.slots.borrow_mut()[slot] {
                // Who does not keep up misses events, and who has left is removed soon.
                let _ = stream.tcp.try_write(stream.events.stamped());
            }
        }
    }
}

async fn write_all(tcp: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match tcp.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => tcp.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a socket that others write to.
struct Reader(Rc<TcpStream>);

impl tokio::io::AsyncRead for Reader {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        loop {
            std::task::ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return std::task::Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return std::task::Poll::Ready(Err(error)),
            }
        }
    }
}
