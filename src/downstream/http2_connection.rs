//! An HTTP/2 client connection. Each of its streams is served in a separate task.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, Builder};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::admission::Admitted;
use super::connection::{GRACE, Terms};
use super::task::{ClientTask, RelayHandover, Rest};
use super::{App, Client, ClientStream, Http2Client, Served, Turns};
use crate::http1::{BadHead, RequestHead};

/// Maximum number of concurrent streams per connection: the minimum that RFC 9113, 6.5.2, recommends.
const MAX_STREAMS: u32 = 100;
/// Flow-control window of one stream, in bytes: the default of HTTP/2 (RFC 9113, 6.9.2).
const STREAM_WINDOW: u32 = 64 * 1024 - 1;
/// Buffer for the response of one stream while the connection accepts no data, in bytes.
const MAX_SEND_BUFFER: usize = 32 * 1024;
/// Number of rejected request heads after which the connection closes. Each costs work, and only a hostile
/// client sends many.
const MAX_REFUSED: usize = 32;
/// Up to this multiple of `max_header_size`, an oversized request gets our response. Beyond it, h2 rejects
/// the request without a message.
const ANSWERED_SIZES: usize = 2;
/// Size that each field counts in addition to its bytes (RFC 9113, 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// Time for the client to receive the GOAWAY frame before the connection closes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves streams until one side closes the connection. After the process begins to stop, it ends with the
/// last stream. The first request must arrive before `deadline`.
pub async fn serve<A: App>(
    app: Arc<A>,
    mut stream: ClientStream,
    peer: Option<IpAddr>,
    deadline: Instant,
    terms: Terms,
) {
    let (trailer_counts, turns) = (stream.trailer_counts(), Turns::default());
    let link = stream.link().clone();
    let opened = timeout_at(deadline, async {
        let is_begun = stream.begins_with_settings().await;
        let connection = options(&terms).handshake(stream).await;
        (is_begun, connection)
    });
    let Ok((is_begun, Ok(mut connection))) = opened.await else { return };
    if !is_begun {
        return close(connection, Reason::PROTOCOL_ERROR).await;
    }
    let mut streams = JoinSet::new();
    let mut idle_until = deadline;
    let (mut is_stopping, mut refused) = (false, 0);
    let mut stop = terms.stopped.clone();
    loop {
        tokio::select! {
            biased;
            () = async { let _ = stop.wait_for(|stopped| *stopped).await; }, if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
                idle_until = Instant::now() + GRACE;
            }
            accepted = poll_fn(|cx| turns.count(cx, |cx| connection.poll_accept(cx))) => {
                // The client left, broke the protocol, or the graceful shutdown is complete.
                let Some(Ok((request, respond))) = accepted else { break };
                let http2 = |body| Http2Client::new(body, respond, trailer_counts.clone(), turns.clone(), link.clone());
                let (client, head) = client(request, http2, peer, terms.max_header_size);
                refused += usize::from(head.is_err());
                if refused >= MAX_REFUSED {
                    close(connection, Reason::ENHANCE_YOUR_CALM).await;
                    break;
                }
                let (stopped, admitted) = (terms.stopped.clone(), terms.admitted.clone());
                streams.spawn(ClientTask::new(serve_stream(app.clone(), client, head, stopped, admitted)));
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
    // The streams still have to notice that the client is gone, and to record it.
    streams.detach_all();
}

async fn serve_stream<A: App>(
    app: Arc<A>,
    client: Client,
    head: Result<(), BadHead>,
    stopped: watch::Receiver<bool>,
    admitted: Arc<Admitted>,
) -> Option<RelayHandover<A>> {
    let mut client = Box::new(client);
    let mut client = match head {
        Ok(()) => match app.serve(client, &stopped).await {
            Served::Answered(client) => client,
            Served::Relaying(relay) => return Some(RelayHandover { relay, rest: Rest::Stream(admitted) }),
        },
        Err(why) => {
            app.refuse(&mut client, why).await;
            client
        }
    };
    Box::pin(client.drain()).await;
    None
}

/// The client of a stream, and whether its request head is acceptable.
fn client(
    request: Request<RecvStream>,
    http2: impl FnOnce(RecvStream) -> Http2Client,
    peer: Option<IpAddr>,
    max_header_size: usize,
) -> (Client, Result<(), BadHead>) {
    let (parts, body) = request.into_parts();
    let size = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    let head = match size.sum::<usize>() > max_header_size {
        true => Err(BadHead::TooLarge),
        false => RequestHead::of_http2(&parts),
    };
    let (head, result) = match head {
        Ok(head) => (head, Ok(())),
        Err(why) => (RequestHead::refused_http2(&parts), Err(why)),
    };
    (Client::http2(http2(body), head, peer), result)
}

fn options(terms: &Terms) -> Builder {
    let max_size = terms.max_header_size.saturating_mul(ANSWERED_SIZES);
    let mut options = server::Builder::new();
    options
        .max_concurrent_streams(MAX_STREAMS)
        // A client may reset all its streams at once.
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .initial_window_size(STREAM_WINDOW)
        // As large as the windows of all streams together, so that one unread upload does not block the
        // others.
        .initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_header_list_size(u32::try_from(max_size).unwrap_or(u32::MAX));
    options
}

/// Sends GOAWAY with the reason and closes the connection.
async fn close(mut connection: server::Connection<ClientStream, Bytes>, reason: Reason) {
    connection.abrupt_shutdown(reason);
    // The connection is dropped in any case.
    let _ = timeout(LAST_WORDS, poll_fn(|cx| connection.poll_closed(cx))).await;
}
