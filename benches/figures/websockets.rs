//! WebSockets: whether each of many opens, receives the frame sent together with its 101, and gets an echo;
//! and the memory of an idle one. Compared with nginx, if installed.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::kit::socket::{Port, accept_each, reset_at_the_end};
use crate::kit::wire::{SWITCHING, UPGRADE, head_length};
use crate::proxy::Proxy;

/// The number of WebSockets opened one after another. The environment variable `WEBSOCKETS` overrides it.
const OPENED: usize = 30_000;
/// The number of concurrent clients.
const CLIENTS: usize = 4;
/// The timeout of each step.
const PATIENCE: Duration = Duration::from_secs(2);

const IDLE: usize = 1000;
/// WebSockets before the measurement, to exclude one-time costs.
const WARM: usize = 50;
const SETTLE: Duration = Duration::from_secs(1);

const FIRST: &[u8] = b"welcome";
const SECOND: &[u8] = b"are you there?";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Switching,
    FirstFrame,
    Echo,
}

pub async fn measure() {
    let opened = std::env::var("WEBSOCKETS").map_or(OPENED, |count| count.parse().expect("a number"));
    let backend = serve();
    let start = |name| match name {
        "sidestream" => Some(Proxy::sidestream(backend, "")),
        _ => Proxy::nginx(backend),
    };
    println!(
        "\n## {opened} WebSockets, {CLIENTS} at a time, whose backend sends its first frame with the 101\n"
    );
    println!("| | failed | no 101 | no first frame | no echo | took |\n|---|---|---|---|---|---|");
    for name in ["sidestream", "nginx"] {
        let Some(proxy) = start(name) else { continue };
        let began = Instant::now();
        let missing = open_many(proxy.address, opened).await;
        let took = began.elapsed().as_secs_f64();
        let of = |what| missing.iter().filter(|missing| **missing == what).count();
        let [switching, first, echo] = [Missing::Switching, Missing::FirstFrame, Missing::Echo].map(of);
        println!("| {name} | {} | {switching} | {first} | {echo} | {took:.1} s |", missing.len());
    }

    println!("\n## Memory of {IDLE} idle WebSockets\n");
    println!("| | each |\n|---|---|");
    for name in ["sidestream", "nginx"] {
        let Some(proxy) = start(name) else { continue };
        let mut open = Vec::new();
        hold(&mut open, proxy.address, WARM).await;
        let before = proxy.memory();
        hold(&mut open, proxy.address, WARM + IDLE).await;
        let growth = proxy.memory().saturating_sub(before) as f64;
        println!("| {name} | {:.2} KB |", growth / IDLE as f64 / 1e3);
    }
}

/// Opens this many WebSockets. Returns the failed steps.
async fn open_many(address: SocketAddr, count: usize) -> Vec<Missing> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let share = count / CLIENTS + usize::from(client < count % CLIENTS);
        clients.spawn(async move {
            let mut missing = Vec::new();
            for _ in 0..share {
                match open(address).await {
                    Ok(mut tcp) => missing.extend(echoes(&mut tcp).await.err()),
                    Err(what) => missing.push(what),
                }
            }
            missing
        });
    }
    clients.join_all().await.concat()
}

/// Keeps this many WebSockets open and idle after their first frame.
async fn hold(open: &mut Vec<TcpStream>, address: SocketAddr, count: usize) {
    while open.len() < count {
        // The first table counts failures.
        open.extend(self::open(address).await);
    }
    sleep(SETTLE).await;
}

/// Opens a WebSocket and reads its first frame.
async fn open(address: SocketAddr) -> Result<TcpStream, Missing> {
    let switched = async {
        let mut tcp = TcpStream::connect(address).await?;
        // Closes with a reset: ports in TIME_WAIT would run out.
        reset_at_the_end(&tcp);
        tcp.set_nodelay(true)?;
        tcp.write_all(UPGRADE.as_bytes()).await?;
        let head = read_head(&mut tcp).await?;
        if head.starts_with(b"HTTP/1.1 101 ") { Ok(tcp) } else { Err(io::ErrorKind::InvalidData.into()) }
    };
    let mut tcp = soon(switched).await.map_err(|_| Missing::Switching)?;
    match soon(read_frame(&mut tcp)).await {
        Ok(payload) if payload == FIRST => Ok(tcp),
        _ => Err(Missing::FirstFrame),
    }
}

/// Sends a frame and reads its echo.
async fn echoes(tcp: &mut TcpStream) -> Result<(), Missing> {
    let echoed = async {
        tcp.write_all(&frame(SECOND, true)).await?;
        read_frame(tcp).await
    };
    match soon(echoed).await {
        Ok(payload) if payload == SECOND => Ok(()),
        _ => Err(Missing::Echo),
    }
}

async fn soon<T>(wanted: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, wanted).await?
}

/// A backend that writes its 101 and its first frame in one write, and then echoes frames.
fn serve() -> SocketAddr {
    let port = Port::of((Ipv4Addr::LOCALHOST, 0));
    tokio::spawn(accept_each(port.listen(), |tcp| drop(tokio::spawn(answer(tcp)))));
    port.address
}

/// Returns only errors, such as a disconnect of the client.
async fn answer(mut tcp: TcpStream) -> io::Result<Infallible> {
    reset_at_the_end(&tcp);
    read_head(&mut tcp).await?;
    tcp.write_all(&[SWITCHING.as_bytes(), &frame(FIRST, false)].concat()).await?;
    loop {
        let payload = read_frame(&mut tcp).await?;
        tcp.write_all(&frame(&payload, false)).await?;
    }
}

/// Reads a head and no further byte: the bytes after it are what this test is about.
async fn read_head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut peeked = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let there = tcp.peek(&mut peeked).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&peeked[..there]);
        let end = head_length(&head).unwrap_or(head.len());
        head.truncate(end);
        tcp.read_exact(&mut peeked[..end - before]).await?;
    }
    Ok(head)
}

/// A short text frame (RFC 6455, 5.2). Frames of clients are masked.
fn frame(payload: &[u8], is_masked: bool) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short frame");
    let mut frame = vec![0x81, length];
    if is_masked {
        frame[1] |= 0x80;
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend_from_slice(payload);
    }
    frame
}

/// Reads a short frame. Returns its payload.
async fn read_frame(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    tcp.read_exact(&mut head).await?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        tcp.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    tcp.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(payload)
}
