//! Backends of every upstream protocol that run the same script.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use tokio::time::Instant;

use super::backend::{Backend, Said};
use super::exchange::{Cues, Exchange};
use super::tls::Authority;
use super::wire::{LAST_CHUNK, STREAM_HEAD, chunk};

/// The protocol and transport of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Http1,
    Http1Tls,
    Http1Unix,
    Http2,
    Http2Tls,
}

impl Transport {
    pub const ALL: [Self; 5] = [Self::Http1, Self::Http1Tls, Self::Http1Unix, Self::Http2, Self::Http2Tls];

    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }
}

/// One step of what a backend does with every request.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Sends the head of an event stream.
    StreamHead,
    /// Sends a response head with this `Content-Length`.
    LengthHead(usize),
    /// Sends one chunk or one DATA frame.
    Send(&'static [u8]),
    /// Sends the request body back.
    Echo,
    /// Waits for [`Backend::go_on`].
    Wait,
    /// Ends the response cleanly.
    End,
    /// Resets the connection or the stream. A reset overtakes sent data, so `Wait` until that data has
    /// arrived.
    Break,
    /// Waits until the connection is closed or the stream reset, and reports it.
    SeeCancel,
    /// Sends back everything until the end of the stream, then `LAST_WORDS`. HTTP/1.1 only.
    Mirror,
}

/// Sent by `Mirror` after the end of the stream.
pub const LAST_WORDS: &[u8] = b"so long";

impl Backend {
    /// A backend that runs these steps. For each request it reports method and path, and then the fields in
    /// lower case, one per line.
    pub async fn speaking(upstream: Transport, authority: &Arc<Authority>, steps: &'static [Step]) -> Self {
        let authority = authority.clone();
        let script = move |exchange| serve(exchange, upstream, authority.clone(), steps);
        let mut backend = match upstream {
            Transport::Http1Unix => Self::script_on_unix(script).await,
            _ => Self::script(script).await,
        };
        let scheme = match upstream {
            Transport::Http1 | Transport::Http1Unix => return backend,
            Transport::Http1Tls => "https",
            Transport::Http2 => "h2",
            Transport::Http2Tls => "h2s",
        };
        backend.url = format!("{scheme}://{}", backend.address);
        backend
    }
}

async fn serve(
    mut exchange: Exchange,
    upstream: Transport,
    authority: Arc<Authority>,
    steps: &'static [Step],
) {
    if let Transport::Http1Tls | Transport::Http2Tls = upstream {
        let alpn = if upstream.is_http2() { "h2" } else { "http/1.1" };
        let Ok(tls) = authority.accept(exchange.connection.into_io(), alpn).await else { return };
        exchange.connection = super::connection::Connection::over(tls, None);
    }
    if upstream.is_http2() {
        serve_http2(exchange, steps).await;
    } else {
        serve_http1(exchange, steps).await;
    }
}

async fn serve_http1(mut exchange: Exchange, steps: &[Step]) {
    while let Some(head) = exchange.connection.head().await {
        let seen = head.replace("\r\n", "\n").replace(" HTTP/1.1\n", "\n");
        let (first, fields) = seen.split_once('\n').expect("a request line");
        exchange.cues.say(Said::Request(format!("{first}\n{}", fields.to_lowercase())));
        let body = exchange.connection.body_of(&head).await.expect("a whole body");
        let mut is_chunked = false;
        for step in steps {
            match *step {
                Step::StreamHead => {
                    is_chunked = true;
                    exchange.send(STREAM_HEAD).await;
                }
                Step::LengthHead(length) => {
                    let head = format!("HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: {length}\r\n\r\n");
                    exchange.send(head).await;
                }
                Step::Send(bytes) if is_chunked => exchange.send(chunk(bytes)).await,
                Step::Send(bytes) => exchange.send(bytes).await,
                Step::Echo => exchange.send(&body).await,
                Step::Wait => exchange.wait().await,
                Step::End if is_chunked => exchange.send(LAST_CHUNK).await,
                Step::End => {}
                Step::Break => return,
                Step::SeeCancel => return exchange.closed().await,
                Step::Mirror => {
                    exchange.echo().await;
                    exchange.send(LAST_WORDS).await;
                    return exchange.half_close().await;
                }
            }
        }
    }
}

async fn serve_http2(exchange: Exchange, steps: &'static [Step]) {
    let Ok(mut connection) = h2::server::handshake(exchange.connection.into_io()).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer_http2(request, respond, exchange.cues.clone(), steps));
    }
}

async fn answer_http2(
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    cues: Cues,
    steps: &[Step],
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
    cues.say(Said::Request(seen));
    let mut body = Vec::new();
    while let Some(Ok(data)) = upload.data().await {
        let _ = upload.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let mut stream = None::<h2::SendStream<Bytes>>;
    // Some tests expect the peer to be gone, so errors are ignored.
    for step in steps {
        match (*step, &mut stream) {
            (Step::StreamHead, _) => {
                stream = begin(
                    &mut respond,
                    http::Response::builder().header("content-type", "text/event-stream"),
                );
            }
            (Step::LengthHead(length), _) => {
                let head = http::Response::builder().header("x-kept", "yes").header("content-length", length);
                stream = begin(&mut respond, head);
            }
            (Step::Send(bytes), Some(stream)) => drop(stream.send_data(Bytes::from_static(bytes), false)),
            (Step::Echo, Some(stream)) => drop(stream.send_data(Bytes::copy_from_slice(&body), false)),
            (Step::End, Some(stream)) => drop(stream.send_data(Bytes::new(), true)),
            (Step::Send(_) | Step::Echo | Step::End, None) => {}
            (Step::Wait, _) => cues.wait().await,
            (Step::Break, Some(stream)) => return stream.send_reset(h2::Reason::INTERNAL_ERROR),
            (Step::Break, None) => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
            (Step::SeeCancel, stream) => {
                let _ = match stream {
                    Some(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
                    None => poll_fn(|cx| respond.poll_reset(cx)).await,
                };
                return cues.say(Said::Closed(Instant::now()));
            }
            (Step::Mirror, _) => unreachable!("tunnels exist only over HTTP/1.1"),
        }
    }
}

fn begin(respond: &mut SendResponse<Bytes>, head: http::response::Builder) -> Option<h2::SendStream<Bytes>> {
    respond.send_response(head.body(()).expect("a head"), false).ok()
}
