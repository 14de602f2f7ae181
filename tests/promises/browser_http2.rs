//! A real browser over HTTP/2: as many EventSources as a page wants, where HTTP/1.1 has six, and a closed tab cancels all.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::kit::{Authority, Backend, Sidestream, Within, stream_begun};

const STREAMS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn more_event_sources_than_six_run_at_once_and_closing_their_tab_cancels_them_all() {
    let authority = Authority::new();
    let mut backend = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if head.starts_with("GET /stream?") {
                exchange.send(stream_begun("data: 1\n\n")).await;
                return exchange.closed().await;
            }
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\n-").await;
        }
    })
    .await;
    let proxy = Sidestream::before(&backend.url).listener(authority.listener()).start().await;
    let mut browser = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/event_sources.mjs"))
        .args([format!("https://{}/", proxy.address), STREAMS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node");
    let mut lines = BufReader::new(browser.stdout.take().expect("a pipe")).lines();
    // A browser takes its time to start.
    let saw = lines.next_line().within(std::time::Duration::from_secs(60)).await.expect("a pipe");
    let saw = saw.expect("a browser; run `make test`, which installs what this needs");
    assert_eq!(saw, format!("{{\"streams\":{STREAMS},\"protocol\":\"h2\"}}"));
    proxy.reaches("sidestream_streams_active{route=\"default\"}", STREAMS as f64).await;
    proxy.reaches("sidestream_connections_open", 1.0).await;

    drop(browser.stdin.take());
    for _ in 0..STREAMS {
        backend.saw_close().await;
    }
    let gone = "sidestream_streams_total{outcome=\"client_gone\",route=\"default\"}";
    proxy.reaches(gone, STREAMS as f64).await;
}
