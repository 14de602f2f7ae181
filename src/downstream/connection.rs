//! One client connection: its handshakes, and the requests of HTTP/1.1 in sequence. HTTP/2 continues in
//! `http2_connection`.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::admission::Admitted;
use super::http2_connection;
use super::task::{ClientTask, RelayHandover, Rest};
use super::{App, Client, ClientStream, ClientWire, Http1Client, Served};
use super::{DownstreamSocket, DownstreamTls, Link};
use crate::config::Listener;
use crate::http1::{BadHead, RequestParser};
use crate::net::Socket;

/// After the process begins to stop, the time for a connection without a request to send one.
pub const GRACE: Duration = Duration::from_secs(1);

/// The settings and the shared state of a connection.
pub struct Terms {
    pub listener: Arc<Listener>,
    /// Maximum size of a request head, in bytes.
    pub max_header_size: usize,
    pub is_leaving: Arc<AtomicBool>,
    /// Becomes true when the process shuts down.
    pub stopped: watch::Receiver<bool>,
    pub admitted: Arc<Admitted>,
}

/// An HTTP/1.1 connection between two requests.
pub struct Http1Connection<A> {
    pub app: Arc<A>,
    pub terms: Terms,
}

impl<A: App> Http1Connection<A> {
    /// The task that serves the connection until one side closes it. After the process begins to stop, it
    /// ends before the next request. `peer` is the client's address.
    pub fn serve(self, socket: Socket, peer: Option<IpAddr>) -> ClientTask<A> {
        ClientTask::new(self.open(socket, peer))
    }

    async fn open(self, socket: Socket, peer: Option<IpAddr>) -> Option<RelayHandover<A>> {
        // Events are small and must not wait for Nagle's algorithm. Fails only if the socket is gone.
        socket.set_nodelay().ok()?;
        let listener = &self.terms.listener;
        let deadline = Instant::now() + listener.header_timeout;
        let socket = DownstreamSocket::new(Arc::new(Link::new(socket, listener.tcp_keepalive)));
        // Boxed: its state is large and short-lived.
        let opened = timeout_at(deadline, Box::pin(open(socket, peer, listener)));
        let mut stopped = self.terms.stopped.clone();
        let opened = tokio::select! {
            biased;
            opened = opened => opened,
            // No request has arrived. A slow client can send it to the successor.
            () = after_stop(&mut stopped) => return None,
        };
        match opened {
            Ok(Ok((Opened::Http1(http1), peer))) => {
                let wait = HeadWait { until: deadline, head: listener.header_timeout, is_first: true };
                self.serve_http1(Box::new(Client::http1(http1, peer)), wait).await
            }
            Ok(Ok((Opened::Http2(stream), peer))) => {
                let Self { app, terms } = self;
                Box::pin(http2_connection::serve(app, stream, peer, deadline, terms)).await;
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client's handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    /// Serves requests in sequence until one is answered by a relay.
    async fn serve_http1(self, mut client: Box<Client>, mut wait: HeadWait) -> Option<RelayHandover<A>> {
        loop {
            match wait.next_request(&mut client, &self.terms).await {
                // Boxed, so that an idle connection does not reserve memory for it.
                Next::Request => match Box::pin(self.app.serve(client, &self.terms.stopped)).await {
                    Served::Answered(answered) => client = answered,
                    Served::Relaying(relay) => {
                        return Some(RelayHandover { relay, rest: Rest::Connection(self) });
                    }
                },
                Next::Refused(why) => {
                    self.app.refuse(&mut client, why).await;
                    if why == BadHead::TimedOut {
                        // A client this slow gets no time for lingering.
                        return None;
                    }
                }
                Next::Closed => return None,
            }
            wait = self.next(&mut client).await?;
        }
    }

    /// Continues after a response.
    pub async fn go_on(self, mut client: Box<Client>) -> Option<RelayHandover<A>> {
        let wait = self.next(&mut client).await?;
        self.serve_http1(client, wait).await
    }

    /// The time limits for the next request. Closes a connection that takes none.
    async fn next(&self, client: &mut Client) -> Option<HeadWait> {
        let listener = &self.terms.listener;
        if !client.takes_another_request() {
            let mut stopped = self.terms.stopped.clone();
            tokio::select! {
                () = Box::pin(client.close(listener.header_timeout)) => {}
                () = after_stop(&mut stopped) => {}
            }
            return None;
        }
        let until = Instant::now() + listener.keepalive_timeout;
        Some(HeadWait { until, head: listener.header_timeout, is_first: false })
    }
}

/// Ready [`GRACE`] after the process begins to stop.
async fn after_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
    tokio::time::sleep(GRACE).await;
}

/// A connection after its handshakes.
enum Opened {
    Http1(Http1Client),
    Http2(ClientStream),
}

async fn open(
    mut socket: DownstreamSocket,
    mut peer: Option<IpAddr>,
    listener: &Listener,
) -> std::io::Result<(Opened, Option<IpAddr>)> {
    if listener.proxy_protocol
        && let Some(client) = socket.read_proxy_header().await?
    {
        peer = Some(client.ip());
    }
    let peer = peer.map(|peer| peer.to_canonical());
    if let Some(tls) = &listener.tls {
        let tls = DownstreamTls::accept(socket, tls.config.clone()).await?;
        let (is_http2, wire) = (tls.speaks_http2(), ClientWire::Tls(Box::new(tls)));
        let opened = match is_http2 {
            true => Opened::Http2(ClientStream::new(wire, BytesMut::new())),
            false => Opened::Http1(Http1Client::new(wire, &[])),
        };
        return Ok((opened, peer));
    }
    let is_http2 = listener.http2 && socket.begins_with_http2().await?;
    let (link, begun) = socket.into_parts();
    let wire = ClientWire::Plain(link);
    let opened = match is_http2 {
        true => Opened::Http2(ClientStream::new(wire, begun)),
        false => Opened::Http1(Http1Client::new(wire, &begun)),
    };
    Ok((opened, peer))
}

/// The result of waiting for a request.
enum Next {
    Request,
    Refused(BadHead),
    /// The connection is over, and no response is expected.
    Closed,
}

/// Time limits for the arrival of a request head.
struct HeadWait {
    /// Deadline for the first byte. For the first request of a connection, deadline for the whole head.
    until: Instant,
    /// For later requests, time from the first byte to the end of the head.
    head: Duration,
    is_first: bool,
}

impl HeadWait {
    /// Reads the next request head. If nothing of it arrives in time, the connection closes without a
    /// response.
    async fn next_request(&self, client: &mut Client, terms: &Terms) -> Next {
        let mut stopped = terms.stopped.clone();
        let Some(http1) = client.as_http1() else { return Next::Closed };
        let mut parser = RequestParser::default();
        let mut deadline = pin!(sleep_until(self.until));
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let (mut has_begun, mut is_stopped) = (false, false);
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = http1.poll_read_head(cx, &mut parser, terms.max_header_size) {
                return Poll::Ready(read);
            }
            if !has_begun && http1.has_begun() {
                has_begun = true;
                if !self.is_first {
                    deadline.as_mut().reset(Instant::now() + self.head);
                }
            }
            if !is_stopped && stop.as_mut().poll(cx).is_ready() {
                is_stopped = true;
                if !has_begun && !self.is_first {
                    return Poll::Ready(None);
                }
                let end = deadline.deadline().min(Instant::now() + GRACE);
                deadline.as_mut().reset(end);
            }
            deadline.as_mut().poll(cx).map(|()| {
                // Without a byte of a request, no response is expected.
                has_begun.then(|| (http1.give_up(&parser), Err(BadHead::TimedOut)))
            })
        })
        .await;
        let Some((head, result)) = read else { return Next::Closed };
        let is_last = result.is_err() || terms.is_leaving.load(Ordering::Relaxed) || *terms.stopped.borrow();
        client.begin_request(head, is_last);
        result.map_or_else(Next::Refused, |()| Next::Request)
    }
}
