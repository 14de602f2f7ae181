//! Shutdown: the time from the last stream to the exit of the process, and the ends of streams that outlast
//! the drain.

use std::time::Instant;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::backend::{Backend, STEADY, WORDS};
use crate::client::Client;
use crate::numbers::{Sample, ms};
use crate::proxy::Proxy;

const STREAMS: usize = 200;
const TRIES: usize = 10;

pub async fn measure() {
    println!("\n## SIGTERM with {STREAMS} streams open\n");
    let (mut times, mut torn, mut refused) = (Vec::new(), 0, true);
    for _ in 0..TRIES {
        let backend = Backend::start().await;
        let mut proxy = Proxy::sidestream(backend.address, "");
        let streams = open(&proxy, WORDS).await;
        proxy.terminate();
        let (whole, last) = read_to_the_end(streams).await;
        refused &= TcpStream::connect(proxy.address).await.is_err();
        proxy.wait();
        times.push(last.elapsed());
        torn += STREAMS - whole;
    }
    let times = Sample::new(times);
    let [median, max] = [times.percentile(50), times.max()].map(ms);
    println!("- {TRIES} tries: {torn} streams torn, new connections refused: {refused}");
    println!("- last stream ended -> process gone: median {median}, at most {max}");

    let backend = Backend::start().await;
    let mut proxy = Proxy::sidestream_draining(backend.address, "2s");
    let streams = open(&proxy, STEADY).await;
    let told = Instant::now();
    proxy.terminate();
    let mut ends = JoinSet::new();
    for mut stream in streams {
        ends.spawn(async move { stream.rest().await });
    }
    let ends = ends.join_all().await;
    proxy.wait();
    let elapsed = told.elapsed();
    let said = ends.iter().filter(|rest| is_told(rest)).count();
    println!(
        "- `drain_timeout: 2s`: {said} of {STREAMS} streams ended with `shutting_down`, process gone after {}",
        ms(elapsed)
    );
}

async fn open(proxy: &Proxy, path: &str) -> Vec<Client> {
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut client = Client::get(proxy.address, path).await;
        client.read_until(b"data: ").await;
        streams.push(client);
    }
    streams
}

/// Returns the number of complete streams, and the time when the last one ended.
async fn read_to_the_end(streams: Vec<Client>) -> (usize, Instant) {
    let mut ends = JoinSet::new();
    for mut stream in streams {
        ends.spawn(async move { (stream.rest().await, Instant::now()) });
    }
    let ends = ends.join_all().await;
    let whole = ends.iter().filter(|(rest, _)| rest.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n")).count();
    (whole, ends.iter().map(|(_, at)| *at).max().expect("streams"))
}

fn is_told(rest: &[u8]) -> bool {
    memchr::memmem::find(rest, b"\"code\":\"shutting_down\"").is_some() && rest.ends_with(b"0\r\n\r\n")
}

impl Client {
    /// Reads until the end of the response or the connection.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n0\r\n\r\n") {
            let bytes = self.read().await;
            if bytes.is_empty() {
                break;
            }
            rest.extend_from_slice(bytes);
        }
        rest
    }
}
