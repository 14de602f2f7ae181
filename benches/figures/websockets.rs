//! WebSockets: whether each of many opens, hears the frame that came together with its 101, and is answered; and what an
//! idle one costs. Beside nginx, where that is installed.

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

/// How many are opened one after another; the environment variable `WEBSOCKETS` says otherwise.
const OPENED: usize = 30_000;
/// By so many clients at a time.
const CLIENTS: usize = 4;
/// How long a client waits for any one thing.
const PATIENCE: Duration = Duration::from_secs(2);

const IDLE: usize = 1000;
/// What the first ones cost once and for all is no cost of a WebSocket.
const WARM: usize = 50;
const SETTLE: Duration = Duration::from_secs(1);

const FIRST: &[u8] = b"welcome";
const SECOND: &[u8] = b"are you there?";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How far a WebSocket did not get.
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

/// Opens so many, and returns what was missing of those that failed.
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

/// Keeps so many open, silent after their first frame.
async fn hold(open: &mut Vec<TcpStream>, address: SocketAddr, count: usize) {
    while open.len() < count {
        // How many fail is what the other table says.
        open.extend(self::open(address).await);
    }
    sleep(SETTLE).await;
}

/// Opens one, and reads its first frame.
async fn open(address: SocketAddr) -> Result<TcpStream, Missing> {
    let switched = async {
        let mut tcp = TcpStream::connect(address).await?;
        // A port that waits for stragglers of each connection would soon be one too few.
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

/// Sends a frame, and reads it back.
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

/// A backend that writes its 101 and its first frame at once, and then sends back what comes.
fn serve() -> SocketAddr {
    let port = Port::of((Ipv4Addr::LOCALHOST, 0));
    tokio::spawn(accept_each(port.listen(), |tcp| drop(tokio::spawn(answer(tcp)))));
    port.address
}

/// Never ends well: a client that has gone is an error.
async fn answer(mut tcp: TcpStream) -> io::Result<Infallible> {
    reset_at_the_end(&tcp);
    read_head(&mut tcp).await?;
    tcp.write_all(&[SWITCHING.as_bytes(), &frame(FIRST, false)].concat()).await?;
    loop {
        let payload = read_frame(&mut tcp).await?;
        tcp.write_all(&frame(&payload, false)).await?;
    }
}

/// Reads a head and no byte more: what comes with it is what this is about.
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

/// One short text frame (RFC 6455, 5.2); clients mask theirs.
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

/// Reads one such frame; returns what it carries.
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
