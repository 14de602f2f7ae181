//! When descriptors run short, new clients are told so, and those that are in already are served.

use crate::kit::{Backend, Client, Process, stream_begun};

async fn streams() -> Backend {
    Backend::that_begins(stream_begun("data: 1\n\n")).await
}

/// Opens streams until one is refused, and returns them with the status of that one; or so many.
async fn open(process: &Process, at_most: usize) -> (Vec<Client>, Option<u16>) {
    let mut streams = Vec::new();
    while streams.len() < at_most {
        let mut client = process.client().await;
        // A client that is refused may find its connection closed before it has asked.
        let _ = client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        match client.response().await.status {
            200 => client.chunk().await,
            status => return (streams, Some(status)),
        };
        streams.push(client);
    }
    (streams, None)
}

#[tokio::test]
async fn the_limit_is_raised_as_far_as_it_may_be() {
    let backend = streams().await;
    let process = Process::with_descriptors(&backend, 100, 1024, "").await;
    let (streams, refused) = open(&process, 150).await;
    assert_eq!((streams.len(), refused), (150, None));
}

#[tokio::test]
async fn clients_beyond_it_are_answered_and_health_checks_too_and_one_line_says_what_to_do() {
    let backend = streams().await;
    let mut process = Process::with_descriptors(&backend, 128, 128, "").await;
    let (streams, refused) = open(&process, 128).await;
    assert_eq!(refused, Some(503));
    // Two for each, and some are kept.
    assert!((35..64).contains(&streams.len()), "{} streams", streams.len());
    let line = process.logs("descriptors are nearly used up").await;
    assert!(
        line.contains("LimitNOFILE") && line.contains("ulimit -n") && line.contains("limit=128"),
        "{line}"
    );
    for _ in 0..20 {
        assert!(matches!(open(&process, 1).await, (_, Some(503))));
        let mut admin = Client::connect(process.addresses[1]).await;
        assert_eq!(admin.get("/healthz").await.status, 200);
    }
    drop(streams);
    // Those that have left make room, and it was said once.
    while open(&process, 1).await.1.is_some() {}
    assert!(!process.has_logged("descriptors are nearly used up"));
}
