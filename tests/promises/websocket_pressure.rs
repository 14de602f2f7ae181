//! Backpressure in tunnels: a peer that does not read stops the sender. The tunnel holds no more than the
//! socket buffers, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use crate::kit::{Backend, Client, SWITCHING, Sidestream, UPGRADE, Within, stands_still};

/// More than the socket buffers and the tunnel's buffers together.
const TOO_MUCH: u64 = 16 << 20;

const PIECE: usize = 8000;

/// A piece of data that differs from all others.
fn piece(number: u64) -> Vec<u8> {
    format!("{number:08}").into_bytes().repeat(PIECE / 8)
}

fn is_in_order(bytes: &[u8]) -> bool {
    (0..).zip(bytes.chunks(PIECE)).all(|(number, found)| found == piece(number))
}

/// Counts the pieces sent until it is stopped.
#[derive(Clone, Default)]
struct Pushed {
    pieces: Arc<AtomicU64>,
    is_enough: Arc<AtomicBool>,
}

impl Pushed {
    /// The next piece to send; `None` when stopped.
    fn next(&self) -> Option<Vec<u8>> {
        if self.is_enough.load(Ordering::SeqCst) {
            return None;
        }
        Some(piece(self.pieces.fetch_add(1, Ordering::SeqCst)))
    }

    fn bytes(&self) -> u64 {
        self.pieces.load(Ordering::SeqCst) * PIECE as u64
    }

    /// Waits until no more data moves, and then stops the sender.
    async fn stands_still(&self) {
        let count = || {
            let bytes = self.bytes();
            assert!(bytes < TOO_MUCH, "{bytes} bytes were sent although the peer does not read");
            bytes
        };
        stands_still(count).soon().await;
        self.is_enough.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    let pushed = Pushed::default();
    let source = pushed.clone();
    let backend = Backend::script(move |mut exchange| {
        let source = source.clone();
        async move {
            exchange.request().await;
            exchange.send(SWITCHING).await;
            while let Some(piece) = source.next() {
                exchange.try_send(piece).await.expect("a connection that is held back");
            }
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let mut client = Client::connect_with_window(proxy.address, 16 * 1024).await;
    client.send(UPGRADE).await;
    assert_eq!(client.response().await.status, 101);
    pushed.stands_still().await;
    client.half_close().await;
    let received = client.rest().await.expect("a clean end");
    assert_eq!(received.len() as u64, pushed.bytes());
    assert!(is_in_order(&received));
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client_and_can_still_send() {
    let (pushed, read_on) = (Pushed::default(), Arc::new(Notify::new()));
    let (told, (say, mut heard)) = (read_on.clone(), mpsc::unbounded_channel());
    let backend = Backend::script(move |mut exchange| {
        let (told, say) = (told.clone(), say.clone());
        async move {
            exchange.request().await;
            exchange.send(SWITCHING).await;
            told.notified().await;
            exchange.send("still here").await;
            told.notified().await;
            say.send(exchange.rest().await).expect("a test that waits");
        }
    })
    .await;
    let proxy = Sidestream::in_front_of(&backend).await;
    let client = proxy.websocket().await;
    let (mut reader, mut writer) = tokio::io::split(client.into_io());
    let source = pushed.clone();
    let sending = tokio::spawn(async move {
        while let Some(piece) = source.next() {
            writer.write_all(&piece).await.expect("a connection that is held back");
        }
        writer.shutdown().await.expect("a connection");
    });
    pushed.stands_still().await;
    read_on.notify_one();
    let mut said = [0; 10];
    reader.read_exact(&mut said).soon().await.expect("a connection");
    assert_eq!(&said, b"still here");
    read_on.notify_one();
    let received = heard.recv().soon().await.expect("what the backend read");
    sending.soon().await.expect("no panic");
    assert_eq!(received.len() as u64, pushed.bytes());
    assert!(is_in_order(&received));
}
