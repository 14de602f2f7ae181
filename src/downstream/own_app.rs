//! Apps of our own: the admin listener, the demo's model, and the doctor's origin. They are served like clients of the proxy, and answer by themselves.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::{mpsc, watch};

use super::{Accept, Admission, App, Client, ClientLost, ListeningSocket};
use crate::config::{Limits, ListenAddress, Listener, TrustedProxies};
use crate::http1::ResponseHead;

/// A field of a response's head.
pub type Field<'a> = (&'a str, &'a str);

/// For what is true only now.
pub const NO_STORE: Field<'_> = ("Cache-Control", "no-store");

/// Answers with a whole body.
pub async fn respond(
    client: &mut Client,
    status: StatusCode,
    content_type: &str,
    fields: &[Field<'_>],
    body: &[u8],
) -> Result<(), ClientLost> {
    client.read_what_is_there().await;
    let length = body.len().to_string();
    let fields = [fields, &[("Content-Length", length.as_str())]].concat();
    client.begin(head(status, content_type, &fields))?;
    let is_head = client.request().method == http::Method::HEAD;
    client.write_last(if is_head { &[] } else { body }).await
}

/// Begins an answer whose body is written piece by piece.
pub async fn begin(client: &mut Client, content_type: &str, fields: &[Field<'_>]) -> Result<(), ClientLost> {
    let mut head = head(StatusCode::OK, content_type, fields);
    if client.version() == http::Version::HTTP_11 {
        head.fields.append("Transfer-Encoding", "chunked");
    }
    client.write_head(head).await
}

/// Does what is worth the time only as long as somebody waits for it.
pub async fn while_connected<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, ClientLost> {
    tokio::select! {
        done = work => Ok(done),
        // No byte is expected before the answer is complete.
        _ = client.receive(false) => Err(ClientLost::Gone),
    }
}

fn head(status: StatusCode, content_type: &str, fields: &[Field<'_>]) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.fields.append("Content-Type", content_type);
    fields.iter().for_each(|(name, value)| head.fields.append(name, value));
    head
}

/// Serves an app of our own until `stopped` is true. Its connections keep nobody waiting.
pub async fn serve_own<A>(socket: ListeningSocket, app: A, stopped: watch::Receiver<bool>)
where
    A: App,
{
    let (alive, _) = mpsc::channel(1);
    let listener = Arc::new(ArcSwap::from_pointee(own_listener(&socket)));
    let limits = Box::new(|| Limits {
        max_request_body: None,
        max_header_size: 64 << 10,
        max_connections: NonZeroUsize::new(OWN_CONNECTIONS),
        per_client: None,
    });
    // Only what users configure is counted for them.
    let uncounted = (IntGauge::new("open", "-"), IntCounter::new("refused", "-"));
    let (Ok(open), Ok(refused)) = uncounted else { return };
    let admission = Admission::of_own(open, refused);
    let (app, workers, is_leaving) = (Arc::new(app), Arc::default(), Arc::default());
    Accept { socket, listener, app, limits, admission, workers, is_leaving, alive }.run(stopped).await;
}

/// Connections at once to an app of our own.
const OWN_CONNECTIONS: usize = 1024;

fn own_listener(socket: &ListeningSocket) -> Listener {
    Listener {
        address: socket.address().unwrap_or(ListenAddress::Unix("".into())),
        http2: true,
        tls: None,
        proxy_protocol: false,
        header_timeout: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(75),
        tcp_keepalive: Some(Duration::from_secs(15)),
        trusted_proxies: TrustedProxies::default(),
        doctor: None,
    }
}
