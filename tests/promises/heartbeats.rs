//! Heartbeats fill silence. They split no events and do not extend the idle timeout of the backend.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::{Backend, STREAM_HEAD, Sidestream, chunk};

const HEARTBEAT: &[u8] = b": heartbeat\n";

#[tokio::test]
async fn heartbeats_do_not_postpone_the_idle_timeout() {
    let backend = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(STREAM_HEAD).await;
        exchange.send(chunk("data: a\n\nid: 7\ndata: torn")).await;
        exchange.closed().await;
    })
    .await;
    let proxy = Sidestream::with(&backend, "heartbeat: 100ms, idle_timeout: 600ms").await;
    let mut client = proxy.client().await;
    let started = Instant::now();
    client.get("/").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: a\n\n"[..]));
    let mut heartbeats = 0;
    let last = loop {
        let chunk = client.chunk().await.expect("an error event before the break");
        if chunk != HEARTBEAT {
            break chunk;
        }
        heartbeats += 1;
    };
    let took = started.elapsed();
    assert!(last.starts_with(b"event: error\n"));
    assert_eq!(client.chunk_or_end().await, Err("ended"));
    // Wide bounds, because the machine may be busy.
    assert!((1..=5).contains(&heartbeats), "{heartbeats} heartbeats");
    assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(5), "{took:?}");
    proxy.reaches("sidestream_heartbeats_total{route=\"default\"}", f64::from(heartbeats)).await;
}

#[tokio::test]
async fn heartbeats_precede_the_first_event_and_do_not_count_as_events() {
    let backend = Backend::that_begins(STREAM_HEAD).await;
    let proxy = Sidestream::with(&backend, "heartbeat: 50ms").await;
    let mut client = proxy.client().await;
    client.get("/").await;
    for _ in 0..3 {
        assert_eq!(client.chunk().await.as_deref(), Some(HEARTBEAT));
    }
    assert!(
        proxy.metric("sidestream_time_to_first_event_seconds_count{model=\"other\",route=\"default\"}").await
            < 1.0
    );
    assert!(proxy.metric("sidestream_events_total{route=\"default\"}").await < 1.0);
    assert!(proxy.metric("sidestream_streams_waiting{route=\"default\"}").await > 0.0);
}
