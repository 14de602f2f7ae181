//! The backend: it reads as the strictest server would, answers by a script, and keeps what it has read.

use tokio::sync::mpsc;

use crate::kit::strict::{self, Request};
use crate::kit::{Backend, Exchange, GENEROUS};

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
    pub backend: Backend,
    /// Each connection tells once what it has seen.
    seen: mpsc::UnboundedReceiver<(usize, Read)>,
    /// Connections that have been asked for.
    told: usize,
}

impl Recorder {
    pub async fn start() -> Self {
        let (say, seen) = mpsc::unbounded_channel();
        let backend = Backend::script(move |exchange| {
            let say = say.clone();
            async move {
                let _ = say.send((exchange.number, record(exchange).await));
            }
        });
        Self { backend: backend.await, seen, told: 0 }
    }

    /// What all connections since the last call have seen; `Err`: the proxy holds one open.
    pub async fn seen(&mut self) -> Result<Vec<Result<Request, String>>, String> {
        let (from, to) = (self.told, self.backend.connections());
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

/// Reads until this finds what it looks for, or a doubt; `None`: the connection ended before.
async fn read<T>(
    exchange: &mut Exchange,
    look: impl Fn(&[u8]) -> Result<Option<(T, usize)>, String>,
) -> Option<Result<T, String>> {
    loop {
        match look(exchange.connection.unread()).transpose() {
            Some(found) => return Some(found.map(|(found, _)| found)),
            None if exchange.connection.read_more().await == 0 => return None,
            None => {}
        }
    }
}

/// Reads one request, answers it, and reads on: whatever else comes is a doubt.
async fn record(mut exchange: Exchange) -> Read {
    let script = match read(&mut exchange, strict::head).await? {
        Ok(head) => Script::of(&head.target),
        Err(doubt) => return Some(Err(doubt)),
    };
    match script {
        Script::Reads { continues } => {
            if continues {
                exchange.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            if let Err(doubt) = read(&mut exchange, strict::read).await? {
                return Some(Err(doubt));
            }
            answer(&mut exchange, "200 OK").await;
        }
        Script::Answers(status) => answer(&mut exchange, status).await,
        Script::Switches => {
            let fields = "Connection: Upgrade\r\nUpgrade: websocket";
            exchange.send(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n")).await;
        }
    }
    let bytes = exchange.rest().await;
    match strict::read(&bytes) {
        Err(doubt) => Some(Err(doubt)),
        Ok(None) => None,
        Ok(Some((request, length))) if length == bytes.len() => Some(Ok(request)),
        Ok(Some((_, length))) => {
            Some(Err(format!("more than a request: {:?}", String::from_utf8_lossy(&bytes[length..]))))
        }
    }
}

async fn answer(exchange: &mut Exchange, status: &str) {
    let fields = "X-From: backend\r\nContent-Length: 2\r\nConnection: close";
    exchange.send(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\nok")).await;
    exchange.half_close().await;
}
