//! One client connection: its requests one after the other, each with a deadline for its head.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::Listener;
use crate::transport::{DownstreamSocket, Link};

/// The timeouts of connections to apps of our own; the address is not looked at.
pub fn own_listener() -> Listener {
    Listener {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        header_timeout: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(75),
    }
}

/// Serves requests until one side closes, or stops between them once `stopped` is true.
pub async fn serve<A: HttpServerApp>(
    app: Arc<A>,
    tcp: TcpStream,
    listener: &Listener,
    stopped: &watch::Receiver<bool>,
) {
    // Events are small and must not wait for each other. It fails only on a socket that is gone.
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let link = Arc::new(Link::default());
    let mut session = ServerSession::new_http1(Box::new(DownstreamSocket::new(tcp, link.clone())));
    let mut waits = HeadWait { first_byte: listener.header_timeout, head: listener.header_timeout };
    loop {
        link.begin_request();
        session.set_connection_user_context(Some(Box::new(link.clone())));
        // pingora's own timer for idle connections is left off: `head_deadline` keeps ours.
        session.set_keepalive(if *stopped.borrow() { None } else { Some(0) });
        let exchange = app.process_new_http(session, stopped);
        let Some(Some(reusable)) = head_deadline(&link, &waits, exchange).await else { return };
        let (stream, settings) = reusable.consume();
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
        waits.first_byte = listener.keepalive_timeout;
    }
}

/// How long a request may take to arrive.
struct HeadWait {
    /// Until its first byte.
    first_byte: Duration,
    /// From its first byte to the end of its head.
    head: Duration,
}

/// Runs an exchange, and gives it up if the head of its request is late. Then the connection is just closed, as an
/// idle one is: there is no request yet that could be answered.
async fn head_deadline<T>(link: &Link, waits: &HeadWait, exchange: impl Future<Output = T>) -> Option<T> {
    let mut exchange = pin!(exchange);
    let mut deadline = pin!(sleep(waits.first_byte));
    let mut started = false;
    poll_fn(|cx| {
        if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if link.head_complete() {
            return Poll::Pending;
        }
        if !started && link.head_started() && waits.first_byte != waits.head {
            deadline.as_mut().reset(Instant::now() + waits.head);
        }
        started |= link.head_started();
        deadline.as_mut().poll(cx).map(|()| None)
    })
    .await
}
