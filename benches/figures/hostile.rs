//! The effect of hostile clients on well-behaved streams and on the memory of the proxy.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::backend::{Backend, SATURATED};
use crate::proxy::Proxy;
use crate::steady::{self, STREAMS};

const WATCHED: Duration = Duration::from_secs(30);

/// Connections that send their head byte by byte.
const SLOW_HEADS: usize = 2000;
/// The number of streams whose client does not read, and the number of them per connection.
const STALLED: usize = 1000;
const STALLED_EACH: usize = 100;
/// Connections that open and reset streams continuously.
const RESETTERS: usize = 2;

pub async fn measure() {
    println!("\n## {STREAMS} steady streams beside hostile clients, {} s each\n", WATCHED.as_secs());
    steady::print_head();
    let backend = Backend::start().await;
    let calm = Proxy::sidestream(backend.address, "");
    steady::report("undisturbed", &steady::gaps(calm.address, WATCHED).await);
    drop(calm);
    let mut notes = Vec::new();
    let attacks: [(&str, Attack); 3] = [
        ("2,000 connections that send a byte of their head each second", slow_heads),
        ("1,000 stalled HTTP/2 streams of a backend that pushes without end", stalled_streams),
        ("2 connections that open and reset HTTP/2 streams as fast as they can", rapid_resets),
    ];
    for (name, attack) in attacks {
        notes.push(format!("{name}: {}", run(&backend, name, attack).await));
    }
    println!();
    for note in notes {
        println!("- {note}");
    }
}

/// Starts the attackers as tasks of the set, and counts their actions.
type Attack = fn(&mut JoinSet<()>, SocketAddr, &Arc<AtomicU64>);

async fn run(backend: &Backend, name: &str, attack: Attack) -> String {
    // `write_timeout` would end the stalled streams that are to be measured.
    let proxy = Proxy::sidestream(backend.address, "write_timeout: off");
    let before = proxy.memory();
    let (mut attackers, count) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    attack(&mut attackers, proxy.address, &count);
    sleep(Duration::from_secs(2)).await;
    let watching = tokio::spawn(steady::gaps(proxy.address, WATCHED));
    let mut most = before;
    while !watching.is_finished() {
        sleep(Duration::from_millis(100)).await;
        most = most.max(proxy.memory());
    }
    steady::report(name, &watching.await.expect("gaps"));
    attackers.shutdown().await;
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let (count, growth) = (count.load(Ordering::Relaxed), most.saturating_sub(before));
    format!("{count} times; memory {:.1} MiB before, at most {:.1} MiB more", mib(before), mib(growth))
}

/// Counts connections.
fn slow_heads(attackers: &mut JoinSet<()>, address: SocketAddr, count: &Arc<AtomicU64>) {
    for number in 0..SLOW_HEADS {
        again(attackers, count, move || async move {
            // Staggers the connections.
            sleep(Duration::from_millis(number as u64 / 2)).await;
            let mut tcp = TcpStream::connect(address).await?;
            tcp.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
            loop {
                sleep(Duration::from_secs(1)).await;
                tcp.write_all(b"x").await?;
            }
        });
    }
}

/// Counts connections.
fn stalled_streams(attackers: &mut JoinSet<()>, address: SocketAddr, count: &Arc<AtomicU64>) {
    for _ in 0..STALLED / STALLED_EACH {
        again(attackers, count, move || async move {
            let tcp = TcpStream::connect(address).await?;
            let (client, connection) = h2::client::Builder::new()
                .initial_connection_window_size(100 << 20)
                .handshake::<_, Bytes>(tcp)
                .await
                .map_err(std::io::Error::other)?;
            let mut streams = Vec::new();
            let ask = async {
                for _ in 0..STALLED_EACH {
                    let mut client = client.clone().ready().await.map_err(std::io::Error::other)?;
                    let request = http::Request::get(format!("http://figures{SATURATED}")).body(());
                    let request = request.map_err(std::io::Error::other)?;
                    streams.push(client.send_request(request, true).map_err(std::io::Error::other)?);
                }
                std::future::pending::<std::io::Result<()>>().await
            };
            tokio::select! {
                ended = connection => ended.map_err(std::io::Error::other),
                asked = ask => asked,
            }
        });
    }
}

/// Counts streams.
fn rapid_resets(attackers: &mut JoinSet<()>, address: SocketAddr, count: &Arc<AtomicU64>) {
    /// Streams per write.
    const BATCH: u32 = 500;
    for _ in 0..RESETTERS {
        let count = count.clone();
        again(attackers, &Arc::default(), move || {
            let count = count.clone();
            async move {
                let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
                // Discards responses.
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    while reader.read(&mut bytes).await.unwrap_or(0) > 0 {}
                });
                writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
                let mut stream = 1_u32;
                loop {
                    let mut frames = Vec::new();
                    for _ in 0..BATCH {
                        // GET http / with an authority of one letter (RFC 7541, appendix A), and its reset.
                        let block = b"\x82\x86\x84\x01\x01a";
                        frames.extend([0, 0, block.len() as u8, 1, 5]);
                        frames.extend(stream.to_be_bytes());
                        frames.extend(block);
                        frames.extend([0, 0, 4, 3, 0]);
                        frames.extend(stream.to_be_bytes());
                        frames.extend(8_u32.to_be_bytes());
                        stream += 2;
                    }
                    writer.write_all(&frames).await?;
                    count.fetch_add(u64::from(BATCH), Ordering::Relaxed);
                }
            }
        });
    }
}

/// Repeats an attack, because the proxy ends it.
fn again<F, Fut>(attackers: &mut JoinSet<()>, count: &Arc<AtomicU64>, attack: F)
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = std::io::Result<()>> + Send,
{
    let count = count.clone();
    attackers.spawn(async move {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = attack().await;
            // Avoids a busy loop when connections are refused.
            sleep(Duration::from_millis(1)).await;
        }
    });
}
