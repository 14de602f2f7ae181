//! `server.threads`: connections are spread over threads, and all promises hold on each of them.

use rustix::process::Signal;

use crate::kit::{Backend, LAST_CHUNK, Process, STREAM_HEAD, chunk};

const THREADS: usize = 3;

/// A backend that answers each request with a stream, and ends it when the test calls `go_on`.
async fn that_streams() -> Backend {
    Backend::script(|mut exchange| async move {
        while exchange.request().await.is_some() {
            exchange.send([STREAM_HEAD.into(), chunk("data: 1\n\n")].concat()).await;
            exchange.wait().await;
            exchange.send([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat()).await;
        }
    })
    .await
}

async fn start(backend: &Backend) -> Process {
    Process::in_front_of(backend, &format!("server: {{ threads: {THREADS} }}")).await
}

#[tokio::test]
async fn each_thread_serves_its_connections_and_pools_its_backend_connections() {
    let backend = that_streams().await;
    let process = start(&backend).await;
    let mut clients = Vec::new();
    for _ in 0..THREADS {
        clients.push(process.client().await);
    }
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(client.get("/").await.status, 200);
            assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
        }
        (0..THREADS).for_each(|_| backend.go_on());
        for client in &mut clients {
            assert_eq!(client.chunks().await, [b"data: 2\n\n"]);
        }
    }
    assert_eq!(backend.connections(), THREADS);
}

#[tokio::test]
async fn the_process_ends_with_the_last_stream_of_any_thread() {
    let backend = that_streams().await;
    let mut process = start(&backend).await;
    let mut clients = Vec::new();
    for _ in 0..THREADS {
        let mut client = process.client().await;
        client.get("/").await;
        client.chunk().await;
        clients.push(client);
    }
    process.signal(Signal::TERM);
    process.told("STOPPING=1").await;
    (0..THREADS).for_each(|_| backend.go_on());
    for mut client in clients {
        assert_eq!(client.chunks().await, [b"data: 2\n\n"]);
    }
    assert!(process.ended().await.success());
}
