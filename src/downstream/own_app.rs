//! Serving internal apps: the admin listener, the demo's model and the doctor's origin. They use the same
//! connection code as the proxy, but answer requests themselves.

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

/// A header field: name and value.
pub type Field<'a> = (&'a str, &'a str);

/// For responses that describe the current state.
pub const NO_STORE: Field<'_> = ("Cache-Control", "no-store");

/// Sends a complete response.
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

/// Begins a response whose body is written in pieces.
pub async fn begin(client: &mut Client, content_type: &str, fields: &[Field<'_>]) -> Result<(), ClientLost> {
    let mut head = head(StatusCode::OK, content_type, fields);
    if client.version() == http::Version::HTTP_11 {
        head.fields.append("Transfer-Encoding", "chunked");
    }
    client.write_head(head).await
}

/// Runs `work` until it is done or the client leaves.
pub async fn while_connected<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, ClientLost> {
    tokio::select! {
        done = work => Ok(done),
        // The body was read, so the only possible event is that the client leaves.
        _ = client.receive(false) => Err(ClientLost::Gone),
    }
}

fn head(status: StatusCode, content_type: &str, fields: &[Field<'_>]) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.fields.append("Content-Type", content_type);
    fields.iter().for_each(|(name, value)| head.fields.append(name, value));
    head
}

/// Serves an internal app until `stopped` is true. Its connections do not delay the end of the process.
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
    // Metrics count only the connections to configured listeners.
    let uncounted = (IntGauge::new("open", "-"), IntCounter::new("refused", "-"));
    let (Ok(open), Ok(refused)) = uncounted else { return };
    let admission = Admission::of_own(open, refused);
    let (app, workers, is_leaving) = (Arc::new(app), Arc::default(), Arc::default());
    Accept { socket, listener, app, limits, admission, workers, is_leaving, alive }.run(stopped).await;
}

/// Maximum number of concurrent connections to an internal app.
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
