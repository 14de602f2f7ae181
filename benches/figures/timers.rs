//! Heartbeats and timeouts: when they occur, compared with when they are due.

use std::time::{Duration, Instant};

use crate::backend::{Backend, HEAD_ONLY, PREFILL, SILENT};
use crate::client::Client;
use crate::numbers::ms;
use crate::proxy::Proxy;

const HEARTBEAT: &[u8] = b": heartbeat\n";

pub async fn measure() {
    let backend = Backend::start().await;
    println!(
        "\n## Heartbeats every 1 s and idle_timeout 5 s, in a stream that falls silent after its first event\n"
    );
    let proxy = Proxy::sidestream(backend.address, "heartbeat: 1s, idle_timeout: 5s");
    let mut client = Client::get(proxy.address, SILENT).await;
    client.read_until(b"x\n\n").await;
    let silent_since = Instant::now();
    loop {
        let bytes = client.read().await;
        let what = if memchr::memmem::find(bytes, HEARTBEAT).is_some() { "heartbeat" } else { "error event" };
        let is_end = what == "error event";
        assert!(!is_end || memchr::memmem::find(bytes, b"idle_timeout").is_some(), "{bytes:?}");
        println!("- {what} after {}", ms(silent_since.elapsed()));
        if is_end {
            break;
        }
    }

    println!("\n## Timeouts of 2 s\n\n| timeout | fired after | off by |\n|---|---|---|");
    for (key, path, answer) in [
        ("first_event_timeout", PREFILL, "HTTP/1.1 504"),
        ("first_event_timeout", HEAD_ONLY, "event: error"),
        ("idle_timeout", SILENT, "event: error"),
        ("max_duration", SILENT, "event: error"),
    ] {
        let proxy = Proxy::sidestream(backend.address, &format!("{key}: 2s"));
        let asked = Instant::now();
        let mut client = Client::get(proxy.address, path).await;
        client.read_until(answer.as_bytes()).await;
        let fired = asked.elapsed();
        let off = (fired.as_secs_f64() / Duration::from_secs(2).as_secs_f64() - 1.0) * 100.0;
        println!("| {key} ({}) | {} | {off:+.2} % |", &path[1..], ms(fired));
    }
}
