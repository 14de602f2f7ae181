//! The backend: it parses as strictly as possible, responds according to a script, and records the requests.

use tokio::sync::mpsc;

use crate::kit::strict::{self, Request};
use crate::kit::{Backend, Exchange, GENEROUS};

/// A complete request, or why the bytes are ambiguous. `None`: no complete request arrived.
type Read = Option<Result<Request, String>>;

/// How the backend handles a request. The path selects it.
enum Script {
    /// Reads all of it, and then responds. `continues`: sends 100 first.
    Reads { continues: bool },
    /// Responds after the head, and continues to read.
    Answers(&'static str),
    /// Switches protocols after the head, although the proxy did not ask for it.
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
    /// One record for each connection, with its number.
    seen: mpsc::UnboundedReceiver<(usize, Read)>,
    /// The number of connections reported by [`Self::seen`].
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

    /// The records of all connections since the last call. `Err`: the proxy keeps one of them open.
    pub async fn seen(&mut self) -> Result<Vec<Result<Request, String>>, String> {
        let (from, to) = (self.told, self.backend.connections());
        self.told = to;
        let (mut seen, mut count) = (Vec::new(), from);
        while count < to {
            let next = tokio::time::timeout(GENEROUS, self.seen.recv()).await;
            let (number, read) = next.ok().flatten().ok_or("a connection to the backend stays open")?;
            // Ignore late records of earlier cases.
            if number >= from {
                count += 1;
                seen.extend(read);
            }
        }
        Ok(seen)
    }
}

/// Reads until `look` returns a value or an error. `None`: the connection ended before that.
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

/// Reads and answers one request, and reads to the end. Any further bytes are an error.
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
