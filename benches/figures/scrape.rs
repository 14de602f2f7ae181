//! The cost of scrapes while many streams run.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::backend::{Backend, STEADY};
use crate::client::Client;
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

const STREAMS: usize = 1000;
const LOOKS: usize = 100;

pub async fn measure() {
    let backend = Backend::start().await;
    let proxy = Proxy::sidestream(backend.address, "");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut client = Client::get(proxy.address, STEADY).await;
        client.read_until(b"#").await;
        streams.push(tokio::spawn(async move { while !client.read().await.is_empty() {} }));
    }
    println!("\n## Scraping with {STREAMS} streams of 20 events/s\n");
    println!("| what | median | p99 | bytes | CPU time of sidestream |\n|---|---|---|---|---|");
    for path in ["/metrics", "/streams"] {
        let (mut times, mut size) = (Vec::new(), 0);
        // The cost of the streams in the same time is subtracted.
        let before = (proxy.cpu_time(), Instant::now());
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let idle = (proxy.cpu_time() - before.0).as_secs_f64() / before.1.elapsed().as_secs_f64();
        let before = (proxy.cpu_time(), Instant::now());
        for _ in 0..LOOKS {
            let asked = Instant::now();
            let mut tcp = TcpStream::connect(proxy.admin).await.expect("the admin listener");
            let request = format!("GET {path} HTTP/1.1\r\nHost: figures\r\nConnection: close\r\n\r\n");
            tcp.write_all(request.as_bytes()).await.expect("the admin listener");
            let mut answer = Vec::new();
            tcp.read_to_end(&mut answer).await.expect("an answer");
            times.push(asked.elapsed());
            size = answer.len();
        }
        let used = (proxy.cpu_time() - before.0).as_secs_f64() - idle * before.1.elapsed().as_secs_f64();
        let (times, each) = (Sample::new(times), used / LOOKS as f64 * 1e3);
        let (median, p99) = (ms(times.percentile(50)), ms(times.percentile(99)));
        println!("| {path} | {median} | {p99} | {size} | {each:.2} ms |");
    }
    streams.iter().for_each(tokio::task::JoinHandle::abort);
}
