//! One client connection: its handshakes, and over HTTP/1.1 its requests one after the other.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::admission::Admitted;
use super::http2;
use crate::config::Listener;
use crate::transport::{DownstreamSocket, DownstreamTls, Link, Socket};

/// How long a client whose connection is just open may take for its request, once the process is on its way to its end.
pub const GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// What requests begin with goes here first; it holds most heads whole.
    static FIRST_READ: RefCell<[u8; 4096]> = const { RefCell::new([0; 4096]) };
}

/// What a connection is served with.
pub struct Terms {
    pub listener: Arc<Listener>,
    /// Bytes of a request's head.
    pub max_header_size: usize,
    /// Becomes true when the process is on its way to its end.
    pub stopped: watch::Receiver<bool>,
    pub admitted: Arc<Admitted>,
}

/// Serves requests until one side closes, or stops between them once the process stops.
pub async fn serve<A>(app: Arc<A>, socket: Socket, terms: Terms)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    // Events are small and must not wait for each other. It fails only on a socket that is gone.
    if socket.set_nodelay().is_err() {
        return;
    }
    let deadline = Instant::now() + terms.listener.header_timeout;
    let link = Arc::new(Link::new(socket, terms.listener.tls.is_none()));
    let socket = DownstreamSocket::new(link.clone());
    // Boxed, for its state is large and soon gone.
    let opened = timeout_at(deadline, Box::pin(open(socket, &terms.listener)));
    let mut stopped = terms.stopped.clone();
    let opened = tokio::select! {
        biased;
        opened = opened => opened,
        // Nothing was asked yet; whoever is slow at that may ask the successor.
        () = after_stop(&mut stopped) => return,
    };
    match opened {
        Ok(Ok((stream, Version::Http1))) => serve_http1(app, stream, link, deadline, terms).await,
        Ok(Ok((stream, Version::Http2))) => Box::pin(http2::serve(app, stream, deadline, terms)).await,
        Ok(Err(error)) => tracing::debug!(%error, "a client's handshake failed"),
        Err(_) => {}
    }
}

/// Ready some time after the process has begun to stop.
async fn after_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
    tokio::time::sleep(GRACE).await;
}

/// What a client speaks.
enum Version {
    Http1,
    Http2,
}

async fn open(mut socket: DownstreamSocket, listener: &Listener) -> std::io::Result<(Stream, Version)> {
    if listener.proxy_protocol {
        socket.read_proxy_header().await?;
    }
    if let Some(tls) = &listener.tls {
        let tls = DownstreamTls::accept(socket, tls.config.clone()).await?;
        let version = if tls.speaks_http2() { Version::Http2 } else { Version::Http1 };
        return Ok((Box::new(tls), version));
    }
    let is_http2 = listener.http2 && socket.begins_with_http2().await?;
    Ok((Box::new(socket), if is_http2 { Version::Http2 } else { Version::Http1 }))
}

async fn serve_http1<A: HttpServerApp>(
    app: Arc<A>,
    stream: Stream,
    link: Arc<Link>,
    deadline: Instant,
    terms: Terms,
) {
    let Terms { listener, stopped, .. } = &terms;
    // Not a session: that would take its memory here too, while it is being served.
    let mut next = (stream, None::<HttpPersistentSettings>);
    let mut wait = HeadWait { until: deadline, head: listener.header_timeout, is_first: true };
    loop {
        let exchange = pin!(async {
            let is_stopped = *stopped.borrow();
            let session = read_session(next, &link, is_stopped).await?;
            app.process_new_http(session, stopped).await
        });
        let Some(Some(reusable)) = wait.bound(&link, stopped.clone(), exchange).await else { return };
        next = reusable.consume();
        link.begin_request();
        wait = HeadWait { until: Instant::now() + listener.keepalive_timeout, is_first: false, ..wait };
    }
}

/// The session of the next request on a connection, once something of it is there.
///
/// What comes first is read here, because pingora would keep 4 KiB for it for as long as the response runs.
async fn read_session(
    (mut stream, settings): (Stream, Option<HttpPersistentSettings>),
    link: &Arc<Link>,
    is_stopped: bool,
) -> Option<ServerSession> {
    let begun = if settings.is_none() || link.is_all_read() {
        poll_fn(|cx| read_first(&mut stream, cx)).await.ok()?
    } else {
        // Something of it has come with the request before, or may have.
        BytesMut::new()
    };
    let mut session = ServerSession::new_http1(stream);
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    if let ServerSession::H1(session) = &mut session
        && !begun.is_empty()
    {
        session.set_pipelined_prefix(begun);
    }
    session.set_connection_user_context(Some(Box::new(link.clone())));
    // pingora's own timer for idle connections is left off: `HeadWait` keeps ours.
    session.set_keepalive(if is_stopped { None } else { Some(0) });
    Some(session)
}

/// Reads what a request begins with, or fails at the end of the connection.
fn read_first(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    FIRST_READ.with_borrow_mut(|room| {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled();
        Poll::Ready(if read.is_empty() {
            Err(ErrorKind::UnexpectedEof.into())
        } else {
            Ok(BytesMut::from(read))
        })
    })
}

/// How long a request may take to arrive.
struct HeadWait {
    /// Until when its first byte must be there; the whole head, if it is the first of its connection.
    until: Instant,
    /// From the first byte of a later one to the end of its head.
    head: Duration,
    is_first: bool,
}

impl HeadWait {
    /// Runs an exchange, and gives it up if the head of its request is late. Then the connection is just closed, as an
    /// idle one is: there is no request yet that could be answered.
    async fn bound<T>(
        &self,
        link: &Link,
        mut stopped: watch::Receiver<bool>,
        mut exchange: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut deadline = pin!(sleep_until(self.until));
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        let (mut has_started, mut is_stopped) = (false, false);
        poll_fn(|cx| {
            if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            if link.head_complete() {
                return Poll::Pending;
            }
            if !has_started && link.head_started() {
                has_started = true;
                if !self.is_first {
                    deadline.as_mut().reset(Instant::now() + self.head);
                }
            }
            if !is_stopped && stop.as_mut().poll(cx).is_ready() {
                is_stopped = true;
                if !has_started && !self.is_first {
                    return Poll::Ready(None);
                }
                let end = deadline.deadline().min(Instant::now() + GRACE);
                deadline.as_mut().reset(end);
            }
            deadline.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}
