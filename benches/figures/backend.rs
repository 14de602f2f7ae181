//! A lightweight backend. The path selects its behaviour.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::kit::socket::{Port, accept_each};
use crate::kit::wire::{LAST_CHUNK, STREAM_HEAD, chunk, head_length};

/// Reads the request and never answers.
pub const PREFILL: &str = "/prefill";
/// An event every 5 ms.
pub const BRISK: &str = "/brisk";
/// An event every 50 ms.
pub const STEADY: &str = "/steady";
/// One event, then silence.
pub const SILENT: &str = "/silent";
/// A response head, then silence.
pub const HEAD_ONLY: &str = "/head-only";
/// Events as fast as they are read.
pub const SATURATED: &str = "/saturated";

/// Numbered events every 10 ms, and a clean end.
pub const NUMBERED: &str = "/numbered";
pub const NUMBERED_EVENTS: usize = 1000;

/// 40 events, one every 50 ms, and a clean end.
pub const WORDS: &str = "/words";

/// `/apart/MS/…`: pauses of MS milliseconds before the head, the first event and the first content, and a
/// clean end.
pub const APART: &str = "/apart";
pub const FIRST_EVENT: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
pub const FIRST_CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";

/// The size of an event in bytes. Each event contains [`MARK`] once.
pub const EVENT: usize = 120;
pub const MARK: u8 = b'#';

/// Events per write of a saturated stream, each in its own chunk.
const BATCH: usize = 256;

/// An event of [`NUMBERED`].
pub fn numbered(number: usize) -> String {
    format!("data: token {number}\n\n")
}

/// An event in an HTTP/1.1 chunk.
fn event() -> Vec<u8> {
    let filler = "x".repeat(EVENT - "data: #\n\n".len());
    chunk(format!("data: {}{filler}\n\n", char::from(MARK)))
}

/// The terminal event and the last chunk.
fn done() -> Vec<u8> {
    [&chunk("data: [DONE]\n\n")[..], LAST_CHUNK.as_bytes()].concat()
}

pub struct Backend {
    pub address: SocketAddr,
    /// The times at which connections with a request were closed.
    pub closed: mpsc::UnboundedReceiver<Instant>,
}

impl Backend {
    pub async fn start() -> Self {
        let port = Port::of((Ipv4Addr::LOCALHOST, 0));
        let (say, closed) = mpsc::unbounded_channel();
        tokio::spawn(accept_each(port.listen(), move |tcp| {
            let say = say.clone();
            tokio::spawn(async move {
                serve(tcp).await;
                // The receiver may be gone: not every measurement uses it.
                let _ = say.send(Instant::now());
            });
        }));
        Self { address: port.address, closed }
    }
}

/// Serves one request. Returns when the connection is closed.
async fn serve(mut tcp: TcpStream) {
    let path = request_path(&mut tcp).await;
    let (mut reader, mut writer) = tcp.split();
    let answer = async {
        if path == PREFILL {
            return std::future::pending().await;
        }
        if let Some(rest) = path.strip_prefix(APART) {
            let apart = rest.split('/').nth(1).and_then(|ms| ms.parse().ok()).expect("a duration");
            return spread(&mut writer, Duration::from_millis(apart)).await;
        }
        writer.write_all(STREAM_HEAD.as_bytes()).await?;
        match path.as_str() {
            BRISK => paced(&mut writer, Duration::from_millis(5)).await,
            STEADY => paced(&mut writer, Duration::from_millis(50)).await,
            NUMBERED => {
                let mut ticks = interval(Duration::from_millis(10));
                for number in 0..NUMBERED_EVENTS {
                    ticks.tick().await;
                    writer.write_all(&chunk(numbered(number))).await?;
                }
                writer.write_all(LAST_CHUNK.as_bytes()).await?;
                std::future::pending().await
            }
            WORDS => {
                let event = event();
                let mut ticks = interval(Duration::from_millis(50));
                for _ in 0..40 {
                    ticks.tick().await;
                    writer.write_all(&event).await?;
                }
                writer.write_all(&done()).await?;
                std::future::pending().await
            }
            SATURATED => {
                let batch = event().repeat(BATCH);
                loop {
                    writer.write_all(&batch).await?;
                }
            }
            SILENT => {
                writer.write_all(&event()).await?;
                std::future::pending().await
            }
            _ => std::future::pending().await,
        }
    };
    let mut byte = [0];
    tokio::select! {
        _ = reader.read(&mut byte) => {}
        written = answer => {
            let _: std::io::Result<()> = written;
        }
    }
}

async fn request_path(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while head_length(&head).is_none() {
        if tcp.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return String::new();
        }
    }
    let head = String::from_utf8_lossy(&head);
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Sends the head, the first event and the first content, each after this pause.
async fn spread(writer: &mut (impl AsyncWriteExt + Unpin), apart: Duration) -> std::io::Result<()> {
    sleep(apart).await;
    writer.write_all(STREAM_HEAD.as_bytes()).await?;
    for event in [FIRST_EVENT, FIRST_CONTENT] {
        sleep(apart).await;
        writer.write_all(&chunk(event)).await?;
    }
    writer.write_all(&done()).await?;
    std::future::pending().await
}

async fn paced(writer: &mut (impl AsyncWriteExt + Unpin), gap: Duration) -> std::io::Result<()> {
    let event = event();
    let mut ticks = interval(gap);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        writer.write_all(&event).await?;
    }
}
