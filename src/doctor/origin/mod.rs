//! The probe origin: it answers orders, each by what is said of it in `docs/doctor.md`, to whoever has its token.

mod runs;
mod server;
mod stream;

use std::sync::Arc;

use http::{Method, StatusCode, Version};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::order::{Order, StreamOrder};
use super::query::Query;
use crate::config::DoctorToken;
use crate::downstream::own_app::{self, Field, NO_STORE};
use crate::downstream::{Bounds, Client, ClientLost, Received};
use crate::http1::{RequestHead, ResponseHead};
use runs::Runs;
pub use server::OriginServer;

/// The name of the token in a query.
const TOKEN: &str = "doctor_token";
/// Bytes of a request's body, which is read and means nothing.
const MAX_BODY: usize = 1024 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const FORBIDDEN: &str = "This is a probe origin of `sidestream doctor`. It answers requests whose query has its token \
                         (doctor_token=...), which is printed by the command that has started it, or is in the log or the \
                         configuration of the sidestream whose `doctor_path` this is.\n";

/// A probe origin, wherever it answers, with the streams that it was asked for.
#[derive(Clone, Debug, Default)]
pub struct ProbeOrigin {
    runs: Arc<Runs>,
}

/// What is answered.
struct OriginAnswer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl OriginAnswer {
    fn text(status: StatusCode, text: impl ToString) -> Self {
        Self { status, content_type: TEXT, body: format!("{}\n", text.to_string().trim_end()) }
    }

    fn json(value: &Value) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, body: format!("{value}\n") }
    }
}

impl ProbeOrigin {
    /// Answers a request; returns its status, if the answer went out as it was ordered.
    pub async fn answer(
        &self,
        client: &mut Client,
        token: &DoctorToken,
        stopped: &watch::Receiver<bool>,
    ) -> Option<StatusCode> {
        client.set_bounds(Bounds::default());
        let mut stopped = stopped.clone();
        let answered = tokio::select! {
            biased;
            answered = self.follow(client, token, Instant::now()) => Some(answered),
            // A probe keeps no process from its end.
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        match answered {
            Some(Ok(status)) => return Some(status),
            Some(Err(_)) => client.abandon(),
            None => client.sever().await,
        }
        None
    }

    async fn follow(
        &self,
        client: &mut Client,
        token: &DoctorToken,
        arrived: Instant,
    ) -> Result<StatusCode, ClientLost> {
        let mut query = Query::of(client.request().target(), TOKEN);
        if !query.take(TOKEN).is_some_and(|given| token.is(&given)) {
            return respond(client, OriginAnswer::text(StatusCode::FORBIDDEN, FORBIDDEN)).await;
        }
        match client.request().method {
            Method::OPTIONS => return preflight(client).await,
            Method::GET | Method::POST => {}
            _ => {
                let text = "only GET, POST and OPTIONS are answered here";
                return respond(client, OriginAnswer::text(StatusCode::METHOD_NOT_ALLOWED, text)).await;
            }
        }
        let answer = match Order::parse(query) {
            Ok(Order::Stream(order)) => return self.stream(client, &order, arrived).await,
            Ok(Order::Echo) => OriginAnswer::json(&echo(client)),
            Ok(Order::Account(name)) => OriginAnswer::json(&self.runs.account(&name)),
            Err(bad) => OriginAnswer::text(StatusCode::BAD_REQUEST, bad),
        };
        respond(client, answer).await
    }

    async fn stream(
        &self,
        client: &mut Client,
        order: &StreamOrder,
        arrived: Instant,
    ) -> Result<StatusCode, ClientLost> {
        let run = match self.runs.begin(order.run.clone(), arrived) {
            Ok(run) => run,
            Err(too_many) => {
                return respond(client, OriginAnswer::text(StatusCode::SERVICE_UNAVAILABLE, too_many)).await;
            }
        };
        if !read_body(client).await? {
            let text = "the body of this request is larger than 1 MiB";
            return respond(client, OriginAnswer::text(StatusCode::PAYLOAD_TOO_LARGE, text)).await;
        }
        let origin = requester(client.request());
        stream::send(client, order, &run, &cors(&origin)).await?;
        run.finish();
        Ok(StatusCode::OK)
    }
}

async fn respond(client: &mut Client, answer: OriginAnswer) -> Result<StatusCode, ClientLost> {
    let origin = requester(client.request());
    let fields = [&[NO_STORE, ("X-Content-Type-Options", "nosniff")], &cors(&origin)[..]].concat();
    own_app::respond(client, answer.status, answer.content_type, &fields, answer.body.as_bytes()).await?;
    Ok(answer.status)
}

/// Lets a page of any origin ask, and remembers nothing of that.
async fn preflight(client: &mut Client) -> Result<StatusCode, ClientLost> {
    let request = client.request();
    let mut head = ResponseHead::new(StatusCode::NO_CONTENT);
    if let Some(origin) = requester(request) {
        head.fields.append(ALLOW_ORIGIN, origin);
    }
    head.fields.append("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    if let Some(asked) = request.fields.value("Access-Control-Request-Headers") {
        head.fields.append("Access-Control-Allow-Headers", asked);
    }
    head.fields.append("Access-Control-Max-Age", "0");
    client.read_what_is_there().await;
    client.begin(head)?;
    client.finish().await?;
    Ok(StatusCode::NO_CONTENT)
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";

/// The origin of the page that asks.
fn requester(request: &RequestHead) -> Option<String> {
    request.fields.value("Origin").map(|origin| String::from_utf8_lossy(origin).into_owned())
}

fn cors(origin: &Option<String>) -> Vec<Field<'_>> {
    origin.iter().map(|origin| (ALLOW_ORIGIN, origin.as_str())).collect()
}

/// The head of a request as it has arrived.
fn echo(client: &Client) -> Value {
    let request = client.request();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields: Vec<_> =
        request.fields.iter().map(|(name, value)| json!([text(name), text(value)])).collect();
    let version = match request.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    json!({
        "method": request.method.as_str(),
        "target": text(request.target()),
        "version": version,
        "peer": client.peer().map(|peer| peer.to_string()),
        "fields": fields,
    })
}

/// Reads the request's body to its end; returns whether it is no larger than it may be.
async fn read_body(client: &mut Client) -> Result<bool, ClientLost> {
    let mut length = 0;
    while !client.is_body_read() {
        match client.receive(true).await {
            Received::Piece { piece, .. } => length += piece.len(),
            Received::Gone | Received::Bad(_) => return Err(ClientLost::Gone),
        }
        if length > MAX_BODY {
            return Ok(false);
        }
    }
    Ok(true)
}
