//! One client connection that speaks HTTP/2: its streams, each served by itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::connection::{GRACE, Terms};

/// Streams that a client may have open at once on one connection; pingora's own default.
const MAX_STREAMS: u32 = 100;
/// What a client may send on one stream before it is read, in bytes; the default of HTTP/2 (RFC 9113, 6.9.2).
const STREAM_WINDOW: u32 = 64 * 1024 - 1;
/// What is kept of a stream's response while its connection takes nothing, in bytes.
const MAX_SEND_BUFFER: usize = 32 * 1024;
/// Requests that are none before the connection is closed: each costs work, and only a hostile client sends many.
const MAX_REJECTED: usize = 32;
/// How long a client may take to hear that its connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves streams until one side closes, or stops with the last stream once the process stops.
///
/// `deadline`: until when the first request must be there.
pub async fn serve<A>(app: Arc<A>, stream: Stream, deadline: Instant, terms: Terms)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let digest = Arc::new(Digest { socket_digest: stream.get_socket_digest(), ..Digest::default() });
    let connection = timeout_at(deadline, handshake(stream, Some(options(&terms)))).await;
    let Ok(Ok(mut connection)) = connection else { return };
    let mut streams = JoinSet::new();
    let mut idle_until = deadline;
    let (mut is_stopping, mut rejected) = (false, 0);
    let mut stop = terms.stopped.clone();
    loop {
        tokio::select! {
            biased;
            () = async { let _ = stop.wait_for(|stopped| *stopped).await; }, if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
                idle_until = Instant::now() + GRACE;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, digest.clone()) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let (app, stopped, admitted) = (app.clone(), terms.stopped.clone(), terms.admitted.clone());
                    streams.spawn(async move {
                        app.process_new_http(ServerSession::new_http2(session), &stopped).await;
                        drop(admitted);
                    });
                }
                Ok(Some(H2Accept::Rejected)) => {
                    rejected += 1;
                    if rejected >= MAX_REJECTED {
                        close(connection, Reason::ENHANCE_YOUR_CALM).await;
                        break;
                    }
                }
                // The client has left, or broke the rules; or everything is done and said.
                Ok(None) | Err(_) => break,
            },
            Some(_) = streams.join_next() => {
                let patience = if is_stopping { GRACE } else { terms.listener.keepalive_timeout };
                idle_until = Instant::now() + patience;
            }
            () = sleep_until(idle_until), if streams.is_empty() => {
                close(connection, Reason::NO_ERROR).await;
                break;
            }
        }
    }
    // Each still has to notice that its client is gone, and to say so.
    streams.detach_all();
}

fn options(terms: &Terms) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        // As much as all its streams may use: one whose upload is not read holds up no other.
        .initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_header_list_size(u32::try_from(terms.max_header_size).unwrap_or(u32::MAX));
    options
}

/// Says that the connection is closed, and why.
async fn close(mut connection: h2::server::Connection<Stream, bytes::Bytes>, reason: Reason) {
    connection.abrupt_shutdown(reason);
    // Whether the client listens or not, the connection is dropped.
    let _ = timeout(LAST_WORDS, poll_fn(|cx| connection.poll_closed(cx))).await;
}
