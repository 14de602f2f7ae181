//! The event-stream core over pingora's HTTP/1.1 client, on one thread of tokio: what sidestream's own HTTP/1.1 to backends saves.
//!
//! Events go through a real [`Session`], with its timers; the client's side is as bare as that of [`bare_tokio`](crate::bare_tokio):
//! no routing, no metrics, no log, no TLS. Only GET is understood.

use std::future::{Future, poll_fn};
use std::io::{Error, ErrorKind, Result, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use pingora::connectors::http::v1::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use sidestream::session::{Asked, BATCH, Format, Policy, Session, Setup};
use tokio::net::TcpStream;

use crate::kit::socket::{Port, accept_each};
use crate::kit::wire::{LAST_CHUNK, head_length};
use crate::sockets::{read, write_all};

/// The first argument that makes this program this relay.
pub const ROLE: &str = "pingora-client";

struct Relay {
    connector: Connector,
    peer: HttpPeer,
    policy: Policy,
}

/// Runs at this address, without end.
pub async fn run(address: SocketAddr, backend: SocketAddr) {
    let peer = HttpPeer::new(backend, false, String::new());
    let relay = Rc::new(Relay { connector: Connector::new(None), peer, policy: Policy::default() });
    let serve = |client| {
        let relay = relay.clone();
        tokio::task::spawn_local(async move {
            // It ends with its connection, one way or another.
            let _ = relay.serve(&client).await;
        });
    };
    tokio::task::LocalSet::new().run_until(accept_each(Port::of(address).listen(), serve)).await;
}

impl Relay {
    /// Carries one exchange after the other.
    async fn serve(&self, client: &TcpStream) -> Result<()> {
        let mut input = Vec::new();
        loop {
            let length = loop {
                match head_length(&input) {
                    Some(length) => break length,
                    None => more(client, &mut input).await?,
                }
            };
            let head: Vec<u8> = input.drain(..length).collect();
            let (mut upstream, _) =
                self.connector.get_http_session(&self.peer).await.map_err(Error::other)?;
            let request = Box::new(request(&head)?);
            upstream.write_request_header(request).await.map_err(Error::other)?;
            upstream.read_response().await.map_err(Error::other)?;
            self.respond(client, &mut upstream, &mut input).await?;
            self.connector.release_http_session(upstream, &self.peer, None).await;
        }
    }

    async fn respond(
        &self,
        client: &TcpStream,
        upstream: &mut HttpSession,
        input: &mut Vec<u8>,
    ) -> Result<()> {
        let mut answer =
            Answer { client, session: self.session(), output: response_head(upstream)?, gathered: 0 };
        while answer.session.end().is_none() {
            let mut body = pin!(upstream.read_body_ref());
            // What is buffered is gathered, so that it is written at once.
            let buffered = poll_fn(|context| Poll::Ready(body.as_mut().poll(context))).await;
            let read = match buffered {
                Poll::Ready(read) => read,
                Poll::Pending => {
                    answer.flush().await?;
                    tokio::select! {
                        read = body => read,
                        result = more(client, input) => { result?; continue }
                        () = answer.due() => { answer.session.handle_timeout(Instant::now()); continue }
                    }
                }
            };
            answer.take(read.map_err(Error::other)?);
            if answer.gathered >= BATCH {
                answer.flush().await?;
            }
        }
        answer.flush().await?;
        write_all(client, LAST_CHUNK.as_bytes()).await
    }

    fn session(&self) -> Session {
        let now = Instant::now();
        Session::new(Setup {
            policy: &self.policy,
            format: Format::EventStream,
            conversion: None,
            dialect: None,
            asked: Asked::default(),
            sent: now,
            written: None,
            end: None,
            now,
        })
    }
}

/// A response under way.
struct Answer<'a> {
    client: &'a TcpStream,
    session: Session,
    /// What is to be written before the events.
    output: Vec<u8>,
    /// Bytes of the body since the last write.
    gathered: usize,
}

impl Answer<'_> {
    /// Takes a piece of the body, or its end.
    fn take(&mut self, piece: Option<&[u8]>) {
        match piece {
            Some(bytes) => {
                self.session.append(bytes);
                self.gathered += bytes.len();
            }
            None => {
                self.read();
                self.session.handle_end();
            }
        }
    }

    /// Lets the session look at what was gathered.
    fn read(&mut self) {
        if std::mem::take(&mut self.gathered) > 0 {
            self.session.scan();
            self.session.handle_read(Instant::now());
        }
    }

    /// Writes what the session says, in one chunk.
    async fn flush(&mut self) -> Result<()> {
        self.read();
        let now = Instant::now();
        if let Some(events) = self.session.poll_write(now) {
            write!(self.output, "{:x}\r\n", events.len())?;
            self.output.extend_from_slice(events);
            self.output.extend_from_slice(b"\r\n");
            self.session.handle_written(now);
        }
        write_all(self.client, &self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Waits until the session has something to do though nothing comes.
    async fn due(&self) {
        match self.session.poll_timeout() {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// The request of this head, with its `Host` alone.
fn request(head: &[u8]) -> Result<RequestHeader> {
    let path = head.split(|byte| *byte == b' ').nth(1).ok_or(ErrorKind::InvalidData)?;
    let mut request = RequestHeader::build("GET", path, None).map_err(Error::other)?;
    request.insert_header("Host", "localhost").map_err(Error::other)?;
    Ok(request)
}

fn response_head(upstream: &HttpSession) -> Result<Vec<u8>> {
    let header = upstream.resp_header().ok_or(ErrorKind::InvalidData)?;
    let mut head = format!("HTTP/1.1 {}\r\n", header.status).into_bytes();
    for (name, value) in &header.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// Reads what the client sends; its end is an error, which ends its exchange too.
async fn more(client: &TcpStream, input: &mut Vec<u8>) -> Result<()> {
    let (count, ()) = read(client, |bytes| input.extend_from_slice(bytes)).await?;
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
