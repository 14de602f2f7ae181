//! Clients that request a row and read the response to its end.

use bytes::Bytes;
use sidestream::session::Close;

use super::backend::Running;
use crate::kit::{Client, Sidestream, Within, http2};

/// The response as the client received it.
pub struct Received {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub close: Close,
}

impl Received {
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The protocol of a client.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

pub async fn ask(protocol: Protocol, proxy: &Sidestream, id: &str, running: &Running) -> Received {
    match protocol {
        Protocol::Http1 => ask_http1(proxy, id, running).await,
        Protocol::Http2 => ask_http2(proxy, id, running).await,
    }
}

/// Tells the backend once everything that is relayed before the end has arrived.
fn note_received(running: &Running, length: usize) {
    if length >= running.row.passed_before_end() && running.has_received.available_permits() == 0 {
        running.has_received.add_permits(1);
    }
}

async fn ask_http1(proxy: &Sidestream, id: &str, running: &Running) -> Received {
    let request = &running.row.request;
    let mut client = proxy.client().await;
    let fields: String = request.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = match request.method {
        "GET" => String::new(),
        _ => format!("Content-Length: {}\r\n", request.body.len()),
    };
    let head =
        format!("{} {} HTTP/1.1\r\nHost: test\r\nX-Request-Id: {id}\r\n", request.method, request.path);
    client.send(format!("{head}{fields}{length}\r\n{}", request.body)).await;
    let response = client.response().await;
    let lines = response.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let fields = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut received = Received { status: response.status, fields, body: Vec::new(), close: Close::Clean };
    read_http1(&mut client, running, &mut received).await;
    received
}

async fn read_http1(client: &mut Client, running: &Running, received: &mut Received) {
    note_received(running, 0);
    if let [length] = received.values("content-length")[..] {
        received.body = client.exactly(length.parse().expect("a length")).await;
    } else if received.status != 204 {
        loop {
            match client.chunk_or_end().await {
                Ok(Some(chunk)) => received.body.extend(chunk),
                Ok(None) => return,
                Err(how) => {
                    assert_eq!(how, "ended", "an incomplete chunk");
                    received.close = Close::Break;
                    return;
                }
            }
            note_received(running, received.body.len());
        }
    }
}

async fn ask_http2(proxy: &Sidestream, id: &str, running: &Running) -> Received {
    let request = &running.row.request;
    let client = http2(proxy.client().await.into_io()).await;
    let mut client = client.ready().soon().await.expect("a connection");
    let mut head =
        http::Request::builder().method(request.method).uri(format!("http://test{}", request.path));
    for (name, value) in request.fields.iter().chain(&[("x-request-id", id)]) {
        head = head.header(*name, *value);
    }
    let has_body = request.method != "GET";
    if has_body {
        head = head.header("content-length", request.body.len());
    }
    let head = head.body(()).expect("a request");
    let (response, mut upload) = client.send_request(head, !has_body).expect("a connection");
    if has_body {
        upload.send_data(Bytes::copy_from_slice(request.body.as_bytes()), true).expect("a stream");
    }
    let (head, mut stream) = response.soon().await.expect("a response").into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut received =
        Received { status: head.status.as_u16(), fields, body: Vec::new(), close: Close::Clean };
    note_received(running, 0);
    while let Some(data) = stream.data().soon().await {
        let Ok(data) = data else {
            received.close = Close::Break;
            break;
        };
        let _ = stream.flow_control().release_capacity(data.len());
        received.body.extend_from_slice(&data);
        note_received(running, received.body.len());
    }
    received
}
