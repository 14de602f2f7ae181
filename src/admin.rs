//! The admin listener: what Prometheus and health checks read.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::metrics::Metrics;
use crate::transport::Link;

const TEXT: &str = "text/plain; charset=utf-8";
/// The Prometheus text format that `prometheus` writes.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/metrics` and `/healthz`.
pub struct Admin {
    metrics: Arc<Metrics>,
}

impl Admin {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, Vec<u8>) {
        let known = matches!(path, "/metrics" | "/healthz");
        if known && !matches!(*method, Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD are answered here\n".to_vec());
        }
        match path {
            "/metrics" => match self.metrics.render() {
                Ok(text) => (StatusCode::OK, METRICS_TEXT, text),
                Err(error) => {
                    tracing::error!(%error, "cannot render the metrics");
                    (StatusCode::INTERNAL_SERVER_ERROR, TEXT, b"cannot render the metrics\n".to_vec())
                }
            },
            "/healthz" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            _ => (StatusCode::NOT_FOUND, TEXT, b"try /metrics or /healthz\n".to_vec()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        Link::complete_head_of(session);
        let request = session.req_header();
        let (status, content_type, body) = self.answer(&request.method, request.uri.path());
        let length = header::HeaderValue::from(body.len());
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_LENGTH, length);
        response
    }
}
