//! WebSocket upgrades, which pingora's own proxy carries.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use http::HeaderValue;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use tokio::sync::watch;

use super::exchange::RunningRoute;
use super::hop::Hop;
use super::hygiene;
use super::outcome::UpstreamFault;
use super::refusal::Refusal;
use super::trace_context::{TRACEPARENT, TraceContext};
use super::{CLIENT_CLOSED_REQUEST, Context, Shared};
use crate::head::RequestHead;

/// Carries the upgrades of one listener.
pub struct Upgrades(Arc<HttpProxy<Policy>>);

impl Upgrades {
    /// `ca_file`: authorities in place of the system's.
    pub fn new(shared: Arc<Shared>, ca_file: Option<&str>) -> Self {
        let settings = ServerConf { ca_file: ca_file.map(str::to_owned), ..ServerConf::default() };
        let mut proxy = HttpProxy::new(Policy(shared), Arc::new(settings));
        proxy.handle_init_modules();
        Self(Arc::new(proxy))
    }

    /// Carries one. Its head has been read, and pingora's proxy reads it again.
    pub async fn serve(
        &self,
        session: ServerSession,
        context: Context,
        route: Arc<RunningRoute>,
        stopped: &watch::Receiver<bool>,
    ) -> Option<ReusedHttpStream> {
        let ServerSession::H1(mut session) = session else { return None };
        let mut begun = BytesMut::from(&session.get_headers_raw_bytes()[..]);
        session.set_pipelining_enabled(true);
        session.set_server_keepalive(Some(0));
        let (stream, more) = if session.will_keepalive() {
            Box::pin(session.reuse()).await.ok().flatten()?.into_parts()
        } else {
            (session.into_inner(), None)
        };
        begun.extend_from_slice(&more.unwrap_or_default());
        let mut session = ServerSession::new_http1(stream);
        if let ServerSession::H1(session) = &mut session {
            session.set_pipelined_prefix(begun);
        }
        session.set_connection_user_context(Some(Box::new(Upgrade { context, route })));
        self.0.process_new_http(session, stopped).await
    }
}

/// An upgrade between pingora's calls.
struct Upgrade {
    context: Context,
    route: Arc<RunningRoute>,
}

/// Tells pingora's proxy where upgrades go.
struct Policy(Arc<Shared>);

fn no_upgrade() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "only upgrades are proxied by pingora itself")
}

#[async_trait]
impl ProxyHttp for Policy {
    type CTX = Option<Upgrade>;

    fn new_ctx(&self) -> Option<Upgrade> {
        None
    }

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        context: &mut Self::CTX,
        upgrade: Box<dyn Any + Send + Sync>,
    ) {
        *context = upgrade.downcast().ok().map(|upgrade| *upgrade);
    }

    async fn upstream_peer(
        &self,
        _: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let Upgrade { route, .. } = context.as_ref().ok_or_else(no_upgrade)?;
        let peer = route.upstream.stock_peer().await;
        peer.map(Box::new).map_err(|e| Error::because(ErrorType::ConnectError, "resolving the upstream", e))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let Upgrade { context, .. } = context.as_ref().ok_or_else(no_upgrade)?;
        let mut head = RequestHead::of(request, request.raw_path(), |_| true);
        let hop = Hop::of(&session.downstream_session, &context.listener);
        hygiene::forwarded(&mut head.fields, hop, hygiene::host(request));
        *request = head.to_pingora()?;
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Self::CTX) -> FailToProxy {
        let fault = match error.etype() {
            ErrorType::ConnectTimedout | ErrorType::ReadTimedout => UpstreamFault::ConnectTimeout,
            _ => UpstreamFault::ConnectFailed,
        };
        let refusal = Refusal::from(fault);
        let body = refusal.body();
        // Nothing can be done for a client that is gone.
        if session.response_written().is_none()
            && let Ok(head) = refusal.head(&body).to_pingora()
            && session.write_response_header(Box::new(head), false).await.is_ok()
        {
            let _ = session.write_response_body(Some(body.into()), true).await;
        }
        FailToProxy { error_code: refusal.status.as_u16(), can_reuse_downstream: false }
    }

    /// Every request that failed is in the metrics; a client that left is no error.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Self::CTX) {
        if let Some(Upgrade { context, route }) = context {
            let status =
                session.response_written().map_or(CLIENT_CLOSED_REQUEST, |head| head.status.as_u16());
            route.metrics.requests.count(status);
            let downstream = &session.downstream_session;
            self.0.log("upgrade", downstream, context, status, |line| {
                let request = downstream.req_header();
                let trace = request.headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes);
                line.ids(hygiene::request_id(request), TraceContext::of(trace).as_ref());
            });
            if let Some(error) = error {
                tracing::debug!(route = route.config.name, %error, "an upgraded connection ended");
            }
        }
    }
}
