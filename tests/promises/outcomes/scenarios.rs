//! One scenario for each way to fail. Each returns the status and the code that its client got.

use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::kit::{
    Backend, Client, Process, STREAM_HEAD, Setup, Sidestream, Unreachable, Within, chunk, http2, log_lines,
    stream_begun, stream_of,
};

pub const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";

/// Where the access log goes.
pub struct Place {
    pub log: PathBuf,
}

impl Place {
    fn before(&self, server: impl Into<String>) -> Setup {
        Sidestream::before(server).access_log(&self.log)
    }
}

/// How a backend ends its connection.
#[derive(Clone, Copy)]
pub enum Break {
    Close,
    Reset,
}

/// A chat completion with its first token.
pub fn begun() -> Vec<u8> {
    stream_begun(TOKEN)
}

/// An event stream without an event.
pub fn wait_for_an_event() -> Vec<u8> {
    [STREAM_HEAD.as_bytes(), &chunk(": wait\n\n")].concat()
}

/// What a client got: the status, and the code of the body or of the error event.
async fn seen(client: &mut Client) -> (u16, String) {
    let response = client.response().await;
    let text = if response.length().is_some() {
        String::from_utf8(client.body_of(&response).await).expect("UTF-8")
    } else {
        client.text_to_its_end().await
    };
    let json = text.rsplit_once("event: error\ndata: ").map_or(&*text, |(_, data)| data);
    let value: Value =
        serde_json::from_str(json.trim_end()).unwrap_or_else(|error| panic!("{error}: {text}"));
    (response.status, value["error"]["code"].as_str().expect("a code").to_owned())
}

async fn ask(proxy: &Sidestream) -> Client {
    let mut client = proxy.client().await;
    client.send_get("/v1/chat/completions").await;
    client
}

async fn seen_by_one(proxy: &Sidestream) -> (u16, String) {
    seen(&mut ask(proxy).await).await
}

/// The server cannot be reached.
pub async fn unreachable(place: Place, server: &'static str) -> (u16, String) {
    seen_by_one(&place.before(server).upstream("connect_timeout: 300ms").start().await).await
}

/// The server takes no connection, and refuses none.
pub async fn connects_too_slowly(place: Place) -> (u16, String) {
    let server = Unreachable::new().await;
    let url = format!("http://{}", server.address);
    seen_by_one(&place.before(url).upstream("connect_timeout: 300ms").start().await).await
}

/// A client asks for more streams on its HTTP/2 connection than the process has descriptors for upstream connections.
pub async fn no_descriptors(place: Place) -> (u16, String) {
    let backend = Backend::that_begins(begun()).await;
    let log = format!("access_log: {{ path: '{}' }}", place.log.display());
    let process = Process::with_descriptors(&backend, 96, 96, &log).await;
    let mut client = http2(process.client().await.into_io()).await;
    let mut streams = Vec::new();
    loop {
        let request = Request::get("http://test/v1/chat/completions").body(()).expect("a request");
        client = client.ready().soon().await.expect("a connection");
        let (response, _) = client.send_request(request, true).expect("a stream");
        let mut response = response.soon().await.expect("a response");
        if response.status() == 200 {
            streams.push(response);
            continue;
        }
        let body: Bytes = response.body_mut().data().await.expect("a body").expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        // The process is killed when this returns.
        log_lines(&place.log, 1).await;
        return (response.status().as_u16(), body["error"]["code"].as_str().expect("a code").to_owned());
    }
}

/// The only slot is taken.
pub async fn full(place: Place, upstream: &'static str) -> (u16, String) {
    let mut backend = Backend::that_begins(begun()).await;
    let proxy = place.before(&backend.url).upstream(upstream).start().await;
    let _first = ask(&proxy).await;
    backend.saw_request().await;
    seen_by_one(&proxy).await
}

/// Two servers, whose probes fail.
pub async fn no_server(place: Place) -> (u16, String) {
    let backend = Backend::that_answers("HTTP/1.1 500 Down\r\nContent-Length: 0\r\n\r\n").await;
    let health = "health: { path: /health, interval: 100ms, fails: 1 }";
    let proxy = place.before(&backend.url).upstream(health).start().await;
    let up = format!("sidestream_server_up{{server=\"{}\",upstream=\"llm\"}}", backend.url);
    proxy.reaches(&up, 0.0).await;
    seen_by_one(&proxy).await
}

/// A client has as many streams as it may have.
pub async fn too_many_streams(place: Place) -> (u16, String) {
    let mut backend = Backend::that_begins(begun()).await;
    let limits = "limits: { per_client: { key: address, max_streams: 1 } }";
    let proxy = place.before(&backend.url).more(limits).start().await;
    let _first = ask(&proxy).await;
    backend.saw_request().await;
    seen_by_one(&proxy).await
}

/// The backend sends this and breaks its connection.
pub async fn breaks(place: Place, how: Break, answer: impl AsRef<[u8]>) -> (u16, String) {
    let answer = answer.as_ref().to_vec();
    let is_stream = answer.starts_with(STREAM_HEAD.as_bytes());
    let mut backend = Backend::script(move |mut exchange| {
        let answer = answer.clone();
        async move {
            exchange.request().await;
            exchange.send(&answer).await;
            exchange.wait().await;
            match how {
                Break::Close => {}
                Break::Reset => exchange.reset(),
            }
        }
    })
    .await;
    let proxy = place.before(&backend.url).start().await;
    let mut client = ask(&proxy).await;
    backend.saw_request().await;
    if is_stream {
        // A reset overtakes what was sent before it.
        proxy
            .reaches(r#"sidestream_time_to_first_event_seconds_count{model="other",route="default"}"#, 1.0)
            .await;
    }
    backend.go_on();
    seen(&mut client).await
}

/// The backend ends its response after the first token.
pub async fn ends_too_early(place: Place) -> (u16, String) {
    let backend = Backend::that_answers(stream_of(TOKEN)).await;
    seen_by_one(&place.before(&backend.url).start().await).await
}

/// The backend sends this and then nothing.
pub async fn stalls(place: Place, stream: &'static str, answer: impl AsRef<[u8]>) -> (u16, String) {
    let backend = Backend::that_begins(answer).await;
    seen_by_one(&place.before(&backend.url).stream(stream).start().await).await
}

/// The process ends while the backend has sent this and no more.
pub async fn outlives_the_process(place: Place, answer: impl AsRef<[u8]>) -> (u16, String) {
    let mut backend = Backend::that_begins(answer).await;
    let proxy = place.before(&backend.url).more("server: { drain_timeout: 200ms }").start().await;
    let mut client = ask(&proxy).await;
    backend.saw_request().await;
    let stopped = proxy.stop();
    let seen = seen(&mut client).await;
    stopped.soon().await.expect("an end");
    seen
}

/// The client's body breaks a rule, while the backend waits for it. `framing`: the field that says where it ends.
pub async fn uploads(place: Place, framing: &'static str, body: impl AsRef<[u8]>) -> (u16, String) {
    let mut backend = Backend::that_never_answers().await;
    let proxy = place
        .before(&backend.url)
        .stream("first_event_timeout: 300ms")
        .more("limits: { max_request_body: 1KiB }")
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send(format!("POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")).await;
    backend.saw_request().await;
    client.send(body).await;
    seen(&mut client).await
}

/// The backend answers with an error when the stream has begun without it.
pub async fn answers_with_an_error_too_late(place: Place) -> (u16, String) {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.wait().await;
        exchange.send("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n").await;
        exchange.closed().await;
    })
    .await;
    let proxy = place.before(&backend.url).stream("early_heartbeat: 100ms").start().await;
    let mut client = proxy.client().await;
    client.send("GET /v1/chat/completions HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n").await;
    proxy.reaches("sidestream_heartbeats_total{route=\"default\"}", 1.0).await;
    backend.go_on();
    seen(&mut client).await
}
