//! The backend: it reads as the strictest server would, answers by a script, and keeps what it has read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::kit::GENEROUS;
use crate::kit::strict::{self, Request};

/// A whole request, or why what came cannot be read without doubt; `None`: nothing that is whole came.
type Read = Option<Result<Request, String>>;

/// What the backend does with a request, which its path says.
enum Script {
    /// Reads all of it, and answers; before that with 100 if asked to.
    Reads { continues: bool },
    /// Answers when it has the head, and reads on.
    Answers(&'static str),
    /// Switches protocols when it has the head, though nobody has asked for it.
    Switches,
}

impl Script {
    fn of(target: &str) -> Self {
        match target {
            "/continue" => Self::Reads { continues: true },
            "/early" => Self::Answers("200 OK"),
            "/too-large" => Self::Answers("413 Content Too Large"),
            "/expectation" => Self::Answers("417 Expectation Failed"),
            "/switch" => Self::Switches,
            _ => Self::Reads { continues: false },
        }
    }
}

pub struct Recorder {
    pub address: SocketAddr,
    seen: mpsc::UnboundedReceiver<(usize, Read)>,
    /// Connections so far; each tells once what it has seen.
    connections: Arc<AtomicUsize>,
    /// Those that have been asked for.
    told: usize,
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (say, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let say = say.clone();
                tokio::spawn(async move {
                    let _ = say.send((number, record(tcp).await));
                });
            }
        });
        Self { address, seen, connections, told: 0 }
    }

    /// What all connections since the last call have seen; `Err`: the proxy holds one open.
    pub async fn seen(&mut self) -> Result<Vec<Result<Request, String>>, String> {
        let (from, to) = (self.told, self.connections.load(Ordering::SeqCst));
        self.told = to;
        let (mut seen, mut count) = (Vec::new(), from);
        while count < to {
            let next = tokio::time::timeout(GENEROUS, self.seen.recv()).await;
            let (number, read) = next.ok().flatten().ok_or("a connection to the backend stays open")?;
            // A late one of an earlier case is none of this one.
            if number >= from {
                count += 1;
                seen.extend(read);
            }
        }
        Ok(seen)
    }
}

/// Reads one request, answers it, and reads on: whatever else comes is a doubt.
async fn record(mut tcp: TcpStream) -> Read {
    let mut bytes = Vec::new();
    let script = loop {
        match strict::head(&bytes) {
            Err(doubt) => return Some(Err(doubt)),
            Ok(Some((head, _))) => break Script::of(&head.target),
            Ok(None) => {}
        }
        if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    // A proxy that is gone is what some cases are about.
    match script {
        Script::Reads { continues } => {
            if continues {
                let _ = tcp.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            loop {
                match strict::read(&bytes) {
                    Err(doubt) => return Some(Err(doubt)),
                    Ok(Some(_)) => break,
                    Ok(None) => {}
                }
                if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
            answer(&mut tcp, "200 OK").await;
        }
        Script::Answers(status) => answer(&mut tcp, status).await,
        Script::Switches => {
            let switch =
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = tcp.write_all(switch).await;
        }
    }
    let _ = tcp.read_to_end(&mut bytes).await;
    match strict::read(&bytes) {
        Err(doubt) => Some(Err(doubt)),
        Ok(None) => None,
        Ok(Some((request, length))) if length == bytes.len() => Some(Ok(request)),
        Ok(Some((_, length))) => {
            Some(Err(format!("more than a request: {:?}", String::from_utf8_lossy(&bytes[length..]))))
        }
    }
}

async fn answer(tcp: &mut TcpStream, status: &str) {
    let answer =
        format!("HTTP/1.1 {status}\r\nX-From: backend\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let _ = tcp.write_all(answer.as_bytes()).await;
    let _ = tcp.shutdown().await;
}
