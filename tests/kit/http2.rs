//! An HTTP/2 backend that runs its script for each request.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};

use super::backend::Backend;

/// A request as the script sees it.
pub struct Http2Exchange {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// The number of this request, from 0.
    pub number: usize,
}

impl Backend {
    pub async fn script_http2<F, P>(script: F) -> Self
    where
        F: Fn(Http2Exchange) -> P + Send + Sync + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let (script, requests) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let mut backend = Self::script(move |exchange| {
            let (script, requests) = (script.clone(), requests.clone());
            async move {
                let io = exchange.connection.into_io();
                let Ok(mut connection) = h2::server::handshake(io).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let number = requests.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(script(Http2Exchange { request, respond, number }));
                }
            }
        })
        .await;
        backend.url = format!("h2://{}", backend.address);
        backend
    }
}

impl Http2Exchange {
    /// Sends the response head; a body follows.
    pub fn begin(&mut self, content_type: &str) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", content_type).body(()).expect("a head");
        self.respond.send_response(head, false).expect("a stream")
    }

    /// Reads the request to its end.
    pub async fn body(&mut self) -> Vec<u8> {
        let (body, mut read) = (self.request.body_mut(), Vec::new());
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            read.extend_from_slice(&data);
        }
        read
    }

    /// Waits until the request is reset or its connection is gone. `stream` is the response body, if it has
    /// begun.
    pub async fn reset(&mut self, stream: Option<&mut SendStream<Bytes>>) -> Option<Reason> {
        let reset = match stream {
            Some(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
            None => poll_fn(|cx| self.respond.poll_reset(cx)).await,
        };
        reset.ok()
    }
}

/// Builds trailers.
pub fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let of = |(name, value): &(&'static str, &str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).expect("a value"))
    };
    fields.iter().map(of).collect()
}
