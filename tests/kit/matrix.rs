//! Clients and backends of every protocol that is spoken on either side, with one face.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{Authority, Io, Sidestream, Within};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downstream {
    Http1,
    Http1Tls,
    Http1Unix,
    Http2,
    Http2Tls,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    Http1,
    Http1Tls,
    Http1Unix,
    Http2,
    Http2Tls,
}

impl Downstream {
    pub const ALL: [Self; 5] = [Self::Http1, Self::Http1Tls, Self::Http1Unix, Self::Http2, Self::Http2Tls];

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }
}

impl Upstream {
    pub const ALL: [Self; 5] = [Self::Http1, Self::Http1Tls, Self::Http1Unix, Self::Http2, Self::Http2Tls];

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }
}

/// What a backend does with every request.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Sends the head of an event stream.
    StreamHead,
    /// Sends the head of a response of so many bytes.
    LengthHead(usize),
    /// Sends one chunk, or one DATA frame.
    Send(&'static [u8]),
    /// Reads the request's body and sends it back.
    Echo,
    /// Waits until the test says so.
    Wait,
    /// Ends the response cleanly.
    End,
    /// Resets the connection, or the stream. That overtakes what was sent: `Wait` before it until that has arrived.
    Break,
    /// Waits until the connection is closed, or the stream reset, and says so.
    SeeCancel,
    /// Sends back whatever comes until its end, and after it `LAST_WORDS`. Of HTTP/1.1 alone.
    Mirror,
}

/// What `Mirror` sends when nothing more comes.
pub const LAST_WORDS: &[u8] = b"so long";

/// What a backend saw.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A request: its method and path, and then its fields in lower case, a line each.
    Request(String),
    Cancelled,
}

/// A backend.
pub struct EdgeBackend {
    pub url: String,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    go_on: Arc<tokio::sync::Semaphore>,
    _folder: TempDir,
}

#[derive(Clone)]
struct Script {
    steps: &'static [Step],
    say: mpsc::UnboundedSender<Seen>,
    go_on: Arc<tokio::sync::Semaphore>,
}

impl EdgeBackend {
    pub async fn start(kind: Upstream, authority: &Arc<Authority>, steps: &'static [Step]) -> Self {
        let (say, seen) = mpsc::unbounded_channel();
        let go_on = Arc::new(tokio::sync::Semaphore::new(0));
        let script = Script { steps, say, go_on: go_on.clone() };
        let folder = TempDir::new().expect("a folder");
        let authority = authority.clone();
        let url = if kind == Upstream::Http1Unix {
            let path = folder.path().join("backend.sock");
            let listener = UnixListener::bind(&path).expect("a socket");
            tokio::spawn(async move {
                while let Ok((io, _)) = listener.accept().await {
                    tokio::spawn(script.clone().serve(kind, authority.clone(), io));
                }
            });
            format!("unix:{}", path.display())
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move {
                while let Ok((io, _)) = listener.accept().await {
                    io.set_nodelay(true).expect("a socket");
                    tokio::spawn(script.clone().serve(kind, authority.clone(), io));
                }
            });
            let scheme = match kind {
                Upstream::Http1Tls => "https",
                Upstream::Http2 => "h2",
                Upstream::Http2Tls => "h2s",
                Upstream::Http1 | Upstream::Http1Unix => "http",
            };
            format!("{scheme}://{address}")
        };
        Self { url, seen, go_on, _folder: folder }
    }

    /// Lets one `Wait` go on.
    pub fn go_on(&self) {
        self.go_on.add_permits(1);
    }

    pub async fn saw_request(&mut self) -> String {
        match self.seen.recv().soon().await.expect("a backend") {
            Seen::Request(head) => head,
            Seen::Cancelled => panic!("a request was expected, not its end"),
        }
    }

    pub async fn saw_cancel(&mut self) {
        while self.seen.recv().soon().await.expect("a backend") != Seen::Cancelled {}
    }
}

impl Script {
    async fn serve(self, kind: Upstream, authority: Arc<Authority>, io: impl Io + 'static) {
        let alpn = if kind.is_http2() { "h2" } else { "http/1.1" };
        let io: Box<dyn Io> = match kind {
            Upstream::Http1Tls | Upstream::Http2Tls => match authority.accept(io, alpn).await {
                Ok(io) => io,
                Err(_) => return,
            },
            _ => Box::new(io),
        };
        if kind.is_http2() { self.serve_http2(io).await } else { self.serve_http1(io).await }
    }

    async fn serve_http1(self, mut io: Box<dyn Io>) {
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if io.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head: Vec<u8> = buffer.drain(..end).collect();
            let head = String::from_utf8(head).expect("a head");
            let head = head.replace("\r\n", "\n").replace(" HTTP/1.1\n", "\n");
            let lower = head.to_lowercase();
            self.say(Seen::Request(
                head.split_once('\n')
                    .map_or_else(String::new, |(first, rest)| format!("{first}\n{}", rest.to_lowercase())),
            ));
            let mut body = Vec::new();
            if lower.contains("\ntransfer-encoding: chunked") {
                while !buffer.ends_with(b"0\r\n\r\n") {
                    assert_ne!(io.read_buf(&mut buffer).await.unwrap_or(0), 0, "the body ended early");
                }
                body = dechunked(&std::mem::take(&mut buffer));
            } else if let Some(length) = lower.split("\ncontent-length: ").nth(1) {
                let length: usize = length.lines().next().and_then(|l| l.parse().ok()).expect("a length");
                while buffer.len() < length {
                    assert_ne!(io.read_buf(&mut buffer).await.unwrap_or(0), 0, "the body ended early");
                }
                body = buffer.drain(..length).collect();
            }
            if !self.answer_http1(&mut io, &body).await {
                return;
            }
        }
    }

    /// Returns whether the connection may be used again.
    async fn answer_http1(&self, io: &mut Box<dyn Io>, body: &[u8]) -> bool {
        let mut is_chunked = false;
        for step in self.steps {
            match *step {
                Step::StreamHead => {
                    is_chunked = true;
                    let _ = io.write_all(super::STREAM_HEAD.as_bytes()).await;
                }
                Step::LengthHead(length) => {
                    let head = format!("HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: {length}\r\n\r\n");
                    let _ = io.write_all(head.as_bytes()).await;
                }
                Step::Send(bytes) if is_chunked => {
                    let _ = io.write_all(&super::chunk(bytes)).await;
                }
                Step::Send(bytes) => {
                    let _ = io.write_all(bytes).await;
                }
                Step::Echo => {
                    let _ = io.write_all(body).await;
                }
                Step::Wait => self.wait().await,
                Step::End if is_chunked => {
                    let _ = io.write_all(super::LAST_CHUNK.as_bytes()).await;
                }
                Step::End => {}
                Step::Break => return false,
                Step::SeeCancel => {
                    let mut rest = Vec::new();
                    let _ = io.read_to_end(&mut rest).await;
                    self.say(Seen::Cancelled);
                    return false;
                }
                Step::Mirror => {
                    let (mut reader, mut writer) = tokio::io::split(io);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.write_all(LAST_WORDS).await;
                    let _ = writer.shutdown().await;
                    return false;
                }
            }
            let _ = io.flush().await;
        }
        true
    }

    async fn serve_http2(self, io: Box<dyn Io>) {
        let Ok(mut connection) = h2::server::handshake(io).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let script = self.clone();
            tokio::spawn(script.answer_http2(request, respond));
        }
    }

    async fn answer_http2(
        self,
        request: http::Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) {
        let (head, mut upload) = request.into_parts();
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let mut seen = format!("{} {path}\n", head.method);
        if let Some(authority) = head.uri.authority() {
            seen += &format!("host: {authority}\n");
        }
        for (name, value) in &head.headers {
            seen += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()).to_lowercase());
        }
        self.say(Seen::Request(seen));
        let mut body = Vec::new();
        while let Some(Ok(data)) = upload.data().await {
            let _ = upload.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        let mut stream = None;
        for step in self.steps {
            let send = |stream: &mut Option<h2::SendStream<Bytes>>, bytes: &[u8]| {
                if let Some(stream) = stream {
                    let _ = stream.send_data(Bytes::copy_from_slice(bytes), false);
                }
            };
            match *step {
                Step::StreamHead => {
                    let head = http::Response::builder().header("content-type", "text/event-stream");
                    stream = respond.send_response(head.body(()).expect("a head"), false).ok();
                }
                Step::LengthHead(length) => {
                    let head =
                        http::Response::builder().header("x-kept", "yes").header("content-length", length);
                    stream = respond.send_response(head.body(()).expect("a head"), false).ok();
                }
                Step::Send(bytes) => send(&mut stream, bytes),
                Step::Echo => send(&mut stream, &body),
                Step::Wait => self.wait().await,
                Step::End => {
                    if let Some(stream) = &mut stream {
                        let _ = stream.send_data(Bytes::new(), true);
                    }
                }
                Step::Break => {
                    match &mut stream {
                        Some(stream) => stream.send_reset(h2::Reason::INTERNAL_ERROR),
                        None => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    }
                    return;
                }
                Step::SeeCancel => {
                    let _ = match &mut stream {
                        Some(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
                        None => poll_fn(|cx| respond.poll_reset(cx)).await,
                    };
                    self.say(Seen::Cancelled);
                    return;
                }
                Step::Mirror => unreachable!("a tunnel through HTTP/2"),
            }
        }
    }

    async fn wait(&self) {
        self.go_on.acquire().await.expect("a test that lives").forget();
    }

    fn say(&self, seen: Seen) {
        let _ = self.say.send(seen);
    }
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").expect("a chunk");
        let size = std::str::from_utf8(&bytes[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}

/// A sidestream that speaks one protocol on each side.
pub struct Edge {
    pub proxy: Sidestream,
    pub downstream: Downstream,
    pub authority: Arc<Authority>,
    socket: std::path::PathBuf,
    _folder: TempDir,
}

impl Edge {
    /// `stream`: keys of the `stream` section.
    pub async fn between(
        downstream: Downstream,
        authority: &Arc<Authority>,
        backend: &EdgeBackend,
        stream: &str,
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("http.sock");
        let listener = match downstream {
            Downstream::Http1Unix => format!("{{ address: 'unix:{}' }}", socket.display()),
            Downstream::Http1 | Downstream::Http2 => "{ address: 127.0.0.1:0 }".to_owned(),
            Downstream::Http1Tls | Downstream::Http2Tls => {
                format!("{{ address: 127.0.0.1:0, {} }}", authority.listener())
            }
        };
        let url = &backend.url;
        let tls = if url.starts_with("https") || url.starts_with("h2s") {
            format!(", tls: {{ ca: {}, server_name: localhost }}", authority.path("ca.pem").display())
        } else {
            String::new()
        };
        let proxy = Sidestream::configured(&format!(
            "listeners: [{listener}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
             upstreams: {{ llm: {{ servers: ['{url}']{tls} }} }}\nstream: {{ {stream} }}\n"
        ))
        .await;
        Self { proxy, downstream, authority: authority.clone(), socket, _folder: folder }
    }

    /// Connects a client.
    pub async fn connect(&self) -> EdgeClient {
        let io: Box<dyn Io> = match self.downstream {
            Downstream::Http1Unix => Box::new(UnixStream::connect(&self.socket).await.expect("a connection")),
            _ => {
                let tcp = TcpStream::connect(self.proxy.address).await.expect("a connection");
                tcp.set_nodelay(true).expect("a socket");
                Box::new(tcp)
            }
        };
        match self.downstream {
            Downstream::Http1 | Downstream::Http1Unix => EdgeClient::Http1(io),
            Downstream::Http1Tls => {
                let tls = self.authority.connect(io, &["http/1.1"], None).await;
                EdgeClient::Http1(tls.expect("a handshake").0)
            }
            Downstream::Http2 => EdgeClient::http2(io).await,
            Downstream::Http2Tls => {
                let tls = self.authority.connect(io, &["h2", "http/1.1"], None).await;
                EdgeClient::http2(tls.expect("a handshake").0).await
            }
        }
    }
}

/// A client of one connection.
pub enum EdgeClient {
    Http1(Box<dyn Io>),
    Http2(h2::client::SendRequest<Bytes>),
}

/// A request that was sent; dropping it leaves: the connection is closed, or the stream reset.
pub enum EdgeExchange {
    Http1 { io: Box<dyn Io>, buffer: Vec<u8>, length: Option<usize> },
    Http2 { response: Option<h2::client::ResponseFuture>, stream: Option<h2::RecvStream> },
}

impl EdgeClient {
    async fn http2(io: Box<dyn Io>) -> Self {
        let (client, connection) = h2::client::handshake(io).await.expect("a handshake");
        tokio::spawn(connection);
        Self::Http2(client)
    }

    /// Sends a request; over HTTP/2 its connection serves more.
    pub async fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> EdgeExchange {
        match self {
            Self::Http1(io) => {
                let length = body.map_or_else(String::new, |b| format!("Content-Length: {}\r\n", b.len()));
                let head = format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\n{length}\r\n");
                io.write_all(head.as_bytes()).await.expect("a peer that reads");
                io.write_all(body.unwrap_or_default()).await.expect("a peer that reads");
                io.flush().await.expect("a peer that reads");
                let io = std::mem::replace(io, Box::new(tokio::io::duplex(1).0));
                EdgeExchange::Http1 { io, buffer: Vec::new(), length: None }
            }
            Self::Http2(client) => {
                let mut client = client.clone().ready().await.expect("a connection");
                let request =
                    http::Request::builder().method(method).uri(format!("http://example.org{path}"));
                let request = request.body(()).expect("a request");
                let (response, mut stream) =
                    client.send_request(request, body.is_none()).expect("a connection");
                if let Some(body) = body {
                    stream.send_data(Bytes::copy_from_slice(body), true).expect("a stream");
                }
                EdgeExchange::Http2 { response: Some(response), stream: None }
            }
        }
    }
}

impl EdgeExchange {
    /// Reads the head of the response: its status, and its fields in lower case, a line each.
    pub async fn head(&mut self) -> (u16, String) {
        match self {
            Self::Http1 { io, buffer, length } => {
                let end = loop {
                    if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                        break at + 4;
                    }
                    let read = io.read_buf(buffer).soon().await.unwrap_or(0);
                    assert_ne!(read, 0, "the connection ended before a head");
                };
                let head: Vec<u8> = buffer.drain(..end).collect();
                let head = String::from_utf8(head).expect("a head").to_lowercase().replace("\r\n", "\n");
                let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
                *length = head
                    .split("\ncontent-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next()?.parse().ok());
                (status, head)
            }
            Self::Http2 { response, stream } => {
                let response = response.take().expect("read once").soon().await.expect("a response");
                let (head, body) = response.into_parts();
                *stream = Some(body);
                let fields = head.headers.iter();
                let fields = fields.map(|(n, v)| format!("{n}: {}\n", String::from_utf8_lossy(v.as_bytes())));
                (head.status.as_u16(), fields.collect::<String>().to_lowercase())
            }
        }
    }

    /// Reads the next chunk or DATA frame, or of a body of known length what is there of it. `None` at its end; `Err` if it
    /// broke.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, ()> {
        match self {
            Self::Http1 { io, buffer, length: Some(length) } => {
                if *length == 0 {
                    return Ok(None);
                }
                if buffer.is_empty() && io.read_buf(buffer).soon().await.unwrap_or(0) == 0 {
                    return Err(());
                }
                *length -= buffer.len();
                Ok(Some(std::mem::take(buffer)))
            }
            Self::Http1 { io, buffer, length: None } => loop {
                if let Some(line) = buffer.windows(2).position(|w| w == b"\r\n") {
                    let size = std::str::from_utf8(&buffer[..line]).expect("a size");
                    let size = usize::from_str_radix(size, 16).expect("a size");
                    if buffer.len() >= line + 4 + size {
                        let chunk: Vec<u8> = buffer.drain(..line + 4 + size).collect();
                        let chunk = chunk[line + 2..line + 2 + size].to_vec();
                        return Ok((size > 0).then_some(chunk));
                    }
                }
                if io.read_buf(buffer).soon().await.unwrap_or(0) == 0 {
                    return Err(());
                }
            },
            Self::Http2 { stream, .. } => {
                let stream = stream.as_mut().expect("a head was read");
                loop {
                    match stream.data().soon().await {
                        Some(Ok(data)) => {
                            let _ = stream.flow_control().release_capacity(data.len());
                            // What ends a stream carries nothing.
                            if !data.is_empty() {
                                return Ok(Some(data.to_vec()));
                            }
                        }
                        Some(Err(_)) => return Err(()),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Reads to the end. `Err` holds what came before it broke.
    pub async fn pieces(&mut self) -> Result<Vec<Vec<u8>>, Vec<Vec<u8>>> {
        let mut pieces = Vec::new();
        loop {
            match self.piece().await {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => return Ok(pieces),
                Err(()) => return Err(pieces),
            }
        }
    }
}
