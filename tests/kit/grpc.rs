//! gRPC calls of a client.

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};

use super::matrix::http2;
use super::sidestream::Sidestream;
use super::within::Within;

pub const GRPC: &str = "application/grpc";

/// A message: compression flag, length and data.
pub const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// A call with both sides open.
pub struct Call {
    pub upload: SendStream<Bytes>,
    response: h2::client::ResponseFuture,
}

/// The result of a call.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    /// Whether the stream ended with the response head.
    pub is_head_alone: bool,
}

impl Call {
    /// Begins a call with these additional fields.
    pub async fn begin(proxy: &Sidestream, add: &[(&str, &str)]) -> Self {
        Self::typed(proxy, GRPC, add).await
    }

    /// Like [`Self::begin`], with this media type.
    pub async fn typed(proxy: &Sidestream, content_type: &str, add: &[(&str, &str)]) -> Self {
        let mut request =
            Request::post("http://test/package.Service/Method").header("content-type", content_type);
        for (name, value) in [("te", "trailers")].iter().chain(add) {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut client = http2(proxy.client().await.into_io()).await;
        let (response, upload) = client.send_request(request, false).expect("a connection");
        Self { upload, response }
    }

    /// Makes a call with one message.
    pub async fn unary(proxy: &Sidestream) -> Answer {
        let mut call = Self::begin(proxy, &[]).await;
        call.upload.send_data(MESSAGE.into(), true).expect("a stream");
        call.answer().await
    }

    /// Makes a call that ends its request after the first bytes of the response.
    pub async fn that_listens(proxy: &Sidestream) -> Answer {
        let mut call = Self::begin(proxy, &[]).await;
        call.upload.send_data(MESSAGE.into(), false).expect("a stream");
        let mut response = call.head().await;
        let first = response.body_mut().data().soon().await.expect("a frame").expect("no reset");
        call.upload.send_data(Bytes::new(), true).expect("a stream");
        let answer = finish(response).await;
        Answer { body: [&first[..], &answer.body].concat(), ..answer }
    }

    pub async fn head(&mut self) -> Response<RecvStream> {
        (&mut self.response).soon().await.expect("a response")
    }

    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        finish(head).await
    }
}

/// Reads the rest of a response.
pub async fn finish(response: Response<RecvStream>) -> Answer {
    let (head, mut stream) = response.into_parts();
    let (is_head_alone, mut body) = (stream.is_end_stream(), Vec::new());
    while let Some(data) = stream.data().soon().await {
        let data = data.expect("no reset");
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().soon().await.expect("no reset").unwrap_or_default();
    Answer { head: Response::from_parts(head, ()), body, trailers, is_head_alone }
}

impl Answer {
    /// The gRPC status and message.
    pub fn status(&self) -> (u8, String) {
        let fields = if self.is_head_alone { self.head.headers() } else { &self.trailers };
        let text = |name| fields.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let status = text("grpc-status").and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {self:?}")), text("grpc-message").unwrap_or_default())
    }

    /// Asserts that sidestream generated the response. Returns its status and message.
    pub fn refusal(&self) -> (u8, String) {
        assert!(self.is_head_alone, "{self:?}");
        assert_eq!(
            (self.head.status().as_u16(), &self.head.headers()["content-type"]),
            (200, &GRPC.parse().expect("a value"))
        );
        self.status()
    }
}
