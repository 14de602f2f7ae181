//! The admin listener: metrics, health checks, `/streams` and the live page. All of it is read-only.

mod readiness;
mod snapshot;
mod upstreams;

use std::future::Ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::downstream::own_app;
use crate::downstream::{App, Client, ClientLost, Served, send_reply};
use crate::exchange::ProxyState;
use crate::http1::BadHead;
use crate::session::MEDIA_TYPE;
use crate::telemetry::metrics::Metrics;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// The media type of the Prometheus text format, as the `prometheus` crate writes it.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The live page, with its script and style.
const PAGE: &str = include_str!("page.html");
/// The page may run its inline script and style, and connect to its own server only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The interval of updates of the live page.
const PACE: Duration = Duration::from_secs(1);
/// The maximum number of open live pages. Each gathers all metrics once a second.
const MAX_PAGES: usize = 32;

pub use readiness::Readiness;

/// Serves the admin listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    shared: Arc<ProxyState>,
    readiness: Readiness,
    pages: AtomicUsize,
    started: Instant,
}

/// A complete response.
struct AdminAnswer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl AdminAnswer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    fn text(status: StatusCode, text: &'static str) -> Self {
        Self::new(status, TEXT, text)
    }
}

impl Admin {
    pub fn new(metrics: Arc<Metrics>, shared: Arc<ProxyState>, readiness: Readiness) -> Self {
        Self { metrics, shared, readiness, pages: AtomicUsize::new(0), started: Instant::now() }
    }

    async fn respond(&self, client: &mut Client, stopped: &watch::Receiver<bool>) -> Result<(), ClientLost> {
        let request = client.request();
        let (method, path) = (request.method.clone(), request.path().into_owned());
        if path == "/live" && method == Method::GET {
            return self.stream(client, stopped).await;
        }
        let answer = match path.as_str() {
            "/readyz" if matches!(method, Method::GET | Method::HEAD) => match self.readiness.check().await {
                Ok(()) => AdminAnswer::text(StatusCode::OK, "ready\n"),
                Err(reason) => AdminAnswer::text(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            path => self.answer(&method, path),
        };
        let mut fields = vec![own_app::NO_STORE, ("X-Content-Type-Options", "nosniff")];
        if answer.content_type == HTML {
            fields.push(("Content-Security-Policy", PAGE_POLICY));
        }
        own_app::respond(client, answer.status, answer.content_type, &fields, &answer.body).await
    }

    fn answer(&self, method: &Method, path: &str) -> AdminAnswer {
        let is_known = matches!(path, "/" | "/metrics" | "/healthz" | "/readyz" | "/streams" | "/live");
        if is_known && !matches!(*method, Method::GET | Method::HEAD) {
            return AdminAnswer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
        }
        match path {
            "/" => AdminAnswer::new(StatusCode::OK, HTML, PAGE),
            "/metrics" => match self.render() {
                Ok(text) => AdminAnswer::new(StatusCode::OK, METRICS_TEXT, text),
                Err(error) => {
                    tracing::error!(%error, "cannot render the metrics");
                    AdminAnswer::text(StatusCode::INTERNAL_SERVER_ERROR, "cannot render the metrics\n")
                }
            },
            "/healthz" => AdminAnswer::text(StatusCode::OK, "ok\n"),
            "/streams" => {
                let upstreams = upstreams::json(&self.shared);
                let running = json!({ "streams": self.shared.live.json(), "upstreams": upstreams });
                AdminAnswer::new(StatusCode::OK, JSON, format!("{running}\n"))
            }
            _ => AdminAnswer::text(StatusCode::NOT_FOUND, "try /, /metrics, /streams, /healthz or /readyz\n"),
        }
    }

    fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.shared.report();
        self.metrics.render()
    }

    /// Streams snapshots to the live page.
    async fn stream(&self, client: &mut Client, stopped: &watch::Receiver<bool>) -> Result<(), ClientLost> {
        let page = OpenPage::of(&self.pages);
        if page.is_too_many {
            let answer = "too many live pages are open: close one\n";
            return own_app::respond(client, StatusCode::SERVICE_UNAVAILABLE, TEXT, &[], answer.as_bytes())
                .await;
        }
        own_app::begin(client, MEDIA_TYPE, &[own_app::NO_STORE]).await?;
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            own_app::while_connected(client, ticks.tick()).await?;
            let is_draining = self.readiness.is_draining();
            self.shared.report();
            let families = self.metrics.gather();
            let snapshot = snapshot::snapshot(&families, &self.shared, self.started, is_draining);
            client.write(format!("data: {snapshot}\n\n").as_bytes()).await?;
        }
        client.finish().await
    }
}

/// Counts an open live page until it is dropped.
struct OpenPage<'a> {
    pages: &'a AtomicUsize,
    is_too_many: bool,
}

impl<'a> OpenPage<'a> {
    fn of(pages: &'a AtomicUsize) -> Self {
        Self { pages, is_too_many: pages.fetch_add(1, Ordering::Relaxed) >= MAX_PAGES }
    }
}

impl Drop for OpenPage<'_> {
    fn drop(&mut self) {
        self.pages.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App for Admin {
    type Relay = Ready<Box<Client>>;

    async fn serve(&self, mut client: Box<Client>, stopped: &watch::Receiver<bool>) -> Served<Self::Relay> {
        if self.respond(&mut client, stopped).await.is_err() {
            client.abandon();
        }
        Served::Answered(client)
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        // Only the requests of users are counted.
        let _ = send_reply(client, why.into()).await;
    }
}
