//! Ten thousand requests to a group of servers that fail now and then, of clients that leave whenever they like, while the configuration
//! changes: in the end no slot and no place in a queue is counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::kit::{
    Backend, Client, Exchange, LAST_CHUNK, STREAM_HEAD, SWITCHING, Sidestream, UPGRADE, Unreachable, Within,
    chunk,
};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 40;
/// Requests between two reloads.
const RELOAD: usize = 400;

async fn serve(mut exchange: Exchange) {
    while let Some(head) = exchange.whole_request().await {
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            exchange.send(SWITCHING).await;
            return exchange.closed().await;
        }
        sleep(Duration::from_millis(fastrand::u64(..4))).await;
        let event = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
        let begin = [STREAM_HEAD.as_bytes(), &event].concat();
        match fastrand::u32(..100) {
            0..5 => exchange.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await,
            5..8 => exchange.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await,
            8..11 => return exchange.reset(),
            11..14 => return exchange.send(&begin[..]).await,
            14..17 => {
                exchange.send(&begin[..]).await;
                return exchange.closed().await;
            }
            _ => {
                exchange.send(&begin[..]).await;
                sleep(Duration::from_millis(fastrand::u64(..4))).await;
                let end = [&chunk("data: [DONE]\n\n"), LAST_CHUNK.as_bytes()].concat();
                exchange.send(end).await;
            }
        }
    }
}

/// A request whose client leaves at any time, or stays.
async fn ask(proxy: std::net::SocketAddr, number: usize) {
    let mut client = Client::connect(proxy).await;
    let body = format!("{{\"stream\":true,\"session\":\"{}\"}}", number % 17);
    let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let way = fastrand::u32(..10);
    client.send(if way == 0 { UPGRADE.to_owned() } else { head }).await;
    match way {
        1 => return,
        2 => sleep(Duration::from_micros(fastrand::u64(..8_000))).await,
        _ => {
            let response = client.response().await;
            if way > 3
                && response.field("transfer-encoding").is_some()
                && client.chunk().await.is_some()
                && way > 5
            {
                // Whether it ends well or breaks is not what this is about.
                let whole = async { while let Ok(Some(_)) = client.chunk_or_end().await {} };
                let _ = tokio::time::timeout(Duration::from_millis(50), whole).await;
            }
        }
    }
    if fastrand::bool() {
        client.reset();
    }
}

/// The value of each series.
async fn series(proxy: &Sidestream) -> HashMap<String, f64> {
    let text = proxy.scrape().await;
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn sum(series: &HashMap<String, f64>, name: &str) -> f64 {
    series.iter().filter(|(key, _)| key.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_of_clients_that_leave_at_any_time_hold_no_slot_in_the_end() {
    let backends = [Backend::script(serve).await, Backend::script(serve).await, Backend::script(serve).await];
    let nowhere = Unreachable::new().await;
    let [a, b, c] = backends.each_ref().map(|backend| backend.url.as_str());
    let common = "connect_timeout: 100ms, outlier_detection: { base_ejection_time: 50ms }";
    let all = "failover: { on: [connect, '503', 5xx, reset], attempts: 3, budget: 100% }";
    let groups = [
        format!(
            "servers: ['{a}', '{b}', 'http://{}'], max_streams: 4, queue: {{ size: 30, timeout: 200ms }}",
            nowhere.address
        ),
        format!(
            "servers: ['{b}', '{c}'], max_streams: 6, queue: {{ size: 5 }}, balance: hash, hash: {{ key: 'body:session' }}"
        ),
        format!("servers: ['{a}', '{b}', '{c}'], balance: round_robin, {all}"),
        format!(
            "servers: [{{ url: '{a}', weight: 3 }}, {{ url: '{c}', backup: true }}], max_streams: 9, queue: {{ size: 50, fairness: 'header:x' }}"
        ),
    ];
    let yaml = |group: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
             upstreams: {{ llm: {{ {group}, {common} }} }}\nstream: {{ idle_timeout: 100ms, first_event_timeout: 1s }}\n"
        )
    };
    let proxy = Sidestream::configured(&yaml(&groups[0])).await;
    let (next, address) = (Arc::new(AtomicUsize::new(0)), proxy.address);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let next = next.clone();
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    return;
                }
                ask(address, number).await;
            }
        });
    }
    let mut reloads = 0;
    while next.load(Ordering::Relaxed) < REQUESTS {
        if next.load(Ordering::Relaxed) >= (reloads + 1) * RELOAD {
            reloads += 1;
            proxy.reload(&yaml(&groups[reloads % groups.len()])).expect("valid");
        }
        sleep(Duration::from_millis(1)).await;
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no panic");
    }
    assert!(reloads > 15, "{reloads}");
    let settled = async {
        loop {
            let series = series(&proxy).await;
            let held =
                sum(&series, "sidestream_server_streams_active") + sum(&series, "sidestream_queue_length");
            let active = sum(&series, "sidestream_streams_active")
                + sum(&series, "sidestream_streams_waiting")
                + sum(&series, "sidestream_websockets_active");
            if held + active < 1.0 {
                return series;
            }
        }
    };
    let series = settled.soon().await;
    let (started, ended) =
        (sum(&series, "sidestream_streams_started_total"), sum(&series, "sidestream_streams_total"));
    assert!((started - ended).abs() < f64::EPSILON, "{started} have started, {ended} have ended");
    assert!(sum(&series, "sidestream_queue_seconds_count") > 100.0, "the queue was used");
    assert!(sum(&series, "sidestream_server_ejections_total") > 0.0, "servers were ejected");
    assert!(sum(&series, "sidestream_failovers_total") > 10.0, "requests went on to other servers");
}
