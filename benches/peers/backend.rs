//! The backend of a proxy, in a separate process.
//!
//! The path selects the response: `/paced/GAP_MS/SIZE/BURST`, `/fast/SIZE`, `/flood`, `/v1/chat/completions`,
//! `/idle`. Paced, fast and flooding streams send their first events immediately, and further ones between
//! `/go` and `/halt`. `/closed` returns the times at which paced streams were closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::chat;
use crate::contender::wait_for;
use crate::event::{Events, now};
use crate::kit::socket::{Port, accept_each, free_address};
use crate::kit::wire::STREAM_HEAD;
use crate::pacer::Pacer;
use crate::process::Process;
use crate::sockets::{send_file, write_all};

/// The first argument that makes this program a backend.
pub const ROLE: &str = "backend";

/// The send buffer of unpaced streams in the kernel, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes per write of an unpaced stream.
const BATCH: usize = 32 * 1024;

/// The number of events in the file for `/flood`.
const FLOOD: usize = 2048;

/// A backend process. Killed on drop.
pub struct Backend {
    pub address: SocketAddr,
    process: Process,
}

impl Backend {
    pub fn start() -> Self {
        let address = free_address();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(ROLE).arg(address.to_string());
        let process = Process::start(command);
        wait_for(address, ROLE);
        Self { address, process }
    }

    /// The CPU time so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// Lets the streams send events.
    pub async fn go(&self) {
        self.ask("/go").await;
    }

    pub async fn halt(&self) {
        self.ask("/halt").await;
    }

    /// When the paced streams that ended since the last call were closed, in ns of the clock of [`now`].
    pub async fn closed(&self) -> Vec<u64> {
        let times = self.ask("/closed").await;
        times.split_whitespace().map(|time| time.parse().expect("a time")).collect()
    }

    async fn ask(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(self.address).await.expect("the backend");
        let request = format!("GET {path} HTTP/1.1\r\nHost: b\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.expect("the backend");
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.expect("an answer");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        body.to_owned()
    }
}

/// The state shared by all connections.
struct Shared {
    pacers: RefCell<HashMap<u64, Rc<Pacer>>>,
    closed: RefCell<Vec<u64>>,
    turn: watch::Sender<bool>,
    /// Events that are sent without a copy.
    flood: File,
    completion: Vec<u8>,
}

impl Shared {
    fn new() -> std::io::Result<Self> {
        let mut flood = tempfile::tempfile()?;
        flood.write_all(&Events::new(120, FLOOD).untimed())?;
        Ok(Self {
            pacers: RefCell::default(),
            closed: RefCell::default(),
            turn: watch::Sender::default(),
            flood,
            completion: chat::completion(),
        })
    }

    fn pacer(&self, gap: u64) -> Rc<Pacer> {
        let start = || Pacer::start(gap, self.turn.subscribe());
        self.pacers.borrow_mut().entry(gap).or_insert_with(start).clone()
    }
}

/// Runs a backend at this address, forever.
pub async fn run(address: SocketAddr) {
    let listener = Port::of(address).listen();
    let shared = Rc::new(Shared::new().expect("a file"));
    let serve = |tcp| {
        let shared = shared.clone();
        tokio::task::spawn_local(async move {
            // Ends with the connection, in any way.
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
                let (gap, size, burst) = (number() as u64, number(), number());
                let mut events = Events::new(size, burst);
                begin(&tcp, &mut events).await?;
                let pacer = shared.pacer(gap);
                pacer.add(tcp.clone(), events);
                let _ = reader.read_u8().await;
                shared.closed.borrow_mut().push(now());
                pacer.remove(&tcp);
                return Ok(());
            }
            "fast" => {
                // By default, the backend's kernel would buffer megabytes, which are not the proxy's latency.
                socket2::SockRef::from(&*tcp).set_send_buffer_size(SEND_BUFFER).expect("a socket");
                let size = number();
                let mut events = Events::new(size, (BATCH / size).max(1));
                begin(&tcp, &mut events).await?;
                let mut turn = shared.turn.subscribe();
                while turn.wait_for(|is_ours| *is_ours).await.is_ok() {
                    write_all(&tcp, events.stamped()).await?;
                }
            }
            "flood" => {
                socket2::SockRef::from(&*tcp).set_send_buffer_size(SEND_BUFFER).expect("a socket");
                begin(&tcp, &mut Events::new(120, 1)).await?;
                let mut turn = shared.turn.subscribe();
                let (mut offset, end) = (0, shared.flood.metadata()?.len());
                while turn.wait_for(|is_ours| *is_ours).await.is_ok() {
                    send_file(&tcp, &shared.flood, &mut offset, end).await?;
                    offset %= end;
                }
            }
            "v1" => write_all(&tcp, &shared.completion).await?,
            "go" | "halt" => {
                shared.turn.send_replace(kind == "go");
                return answer(&tcp, "").await;
            }
            "closed" => {
                let times: Vec<String> = shared.closed.take().iter().map(u64::to_string).collect();
                return answer(&tcp, &times.join(" ")).await;
            }
            _ => begin(&tcp, &mut Events::new(120, 1)).await?,
        }
    }
}

/// Sends the head and the first events of a stream.
async fn begin(tcp: &TcpStream, events: &mut Events) -> std::io::Result<()> {
    write_all(tcp, STREAM_HEAD.as_bytes()).await?;
    write_all(tcp, events.stamped()).await
}

/// Answers a control request.
async fn answer(tcp: &TcpStream, body: &str) -> std::io::Result<()> {
    write_all(tcp, format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").as_bytes()).await
}

/// Reads from a socket that is shared with writers.
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
