//! The whole relay between two scripted peers, over real sockets: what must hold whatever either of them sends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::kit::backend::Backend;
use crate::kit::client::Client;
use crate::kit::exchange::Exchange;
use crate::kit::sidestream::Sidestream;
use crate::kit::strict;
use crate::kit::wire::{first_chunk, head_length};

/// How long a peer waits for what may never come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client waits for more: longer than any of the proxy's timeouts.
const QUIET: Duration = Duration::from_millis(100);

/// A sidestream between a client and a backend, both of which are here.
struct Bench {
    runtime: Runtime,
    /// Where clients connect to.
    socket: PathBuf,
    ends: Mutex<Ends>,
    _proxy: Sidestream,
    _backend: Backend,
    _folder: TempDir,
}

/// What the backend is to answer, and what it has seen.
struct Ends {
    answer: Arc<Mutex<Vec<Vec<u8>>>>,
    seen: mpsc::Receiver<Vec<u8>>,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        // A task that panics is otherwise just a connection that ends.
        std::panic::set_hook(Box::new(|panic| {
            eprintln!("{panic}");
            std::process::abort();
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        // The main function is the fuzzer's, and does not ignore this signal as that of a Rust program does.
        let broken_pipes = runtime.block_on(async { signal(SignalKind::pipe()) });
        drop(broken_pipes.expect("a signal"));
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("http");
        let (say, seen) = mpsc::channel();
        let answer = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let given = answer.clone();
        let backend = Backend::script_on_unix(move |exchange| {
            let pieces = given.lock().expect("no panic").clone();
            serve(exchange, pieces, say.clone())
        });
        let backend = runtime.block_on(backend);
        let setup = Sidestream::before(&backend.url)
            .address(format!("unix:{}", socket.display()))
            .listener("header_timeout: 20ms, keepalive_timeout: 1ms")
            .upstream("keepalive_idle: off")
            .stream(
                "first_event_timeout: 20ms, idle_timeout: 20ms, heartbeat: 5ms, max_event_size: 1KiB, write_timeout: 1s",
            )
            .access_log(&folder.path().join("access.log"))
            .more("limits: { max_request_body: 2KiB }");
        let proxy = runtime.block_on(setup.start());
        let ends = Mutex::new(Ends { answer, seen });
        Bench { runtime, socket, ends, _proxy: proxy, _backend: backend, _folder: folder }
    })
}

/// Gives a connection its answer, in pieces, after a whole head; and tells what it has read.
async fn serve(mut exchange: Exchange, answer: Vec<Vec<u8>>, say: mpsc::Sender<Vec<u8>>) {
    let talk = async {
        while head_length(exchange.connection.unread()).is_none() {
            if exchange.connection.read_more().await == 0 {
                return;
            }
        }
        for piece in &answer {
            exchange.send(piece).await;
            tokio::task::yield_now().await;
        }
        exchange.half_close().await;
        while exchange.connection.read_more().await > 0 {}
    };
    timeout(PATIENCE, talk).await.expect("a proxy that ends its exchanges");
    let _ = say.send(exchange.connection.take());
}

/// `input`: a byte that says how much of it is the client's, one that says how it is cut, and both sides' bytes.
pub fn relay(input: &[u8]) {
    let [share, cut, bytes @ ..] = input else { return };
    let (client, backend) = bytes.split_at(bytes.len() * usize::from(*share) / 255);
    let bench = bench();
    let ends = bench.ends.lock().expect("no panic");
    let size = 1 + usize::from(*cut) * 4;
    let pieces = |bytes: &[u8]| bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
    *ends.answer.lock().expect("no panic") = pieces(backend);
    let answer = bench.runtime.block_on(ask(&bench.socket, &pieces(client)));
    for seen in ends.seen.try_iter() {
        check_request(&seen);
    }
    check_answer(&answer);
}

async fn ask(socket: &Path, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut client = Client::over(UnixStream::connect(socket).await.expect("a proxy that lives"));
    // A client that has sent half a body is waited for: it is silence that ends this one's patience.
    let talk = client.connection.converse(pieces, Duration::ZERO, false, |_| Some(QUIET));
    timeout(PATIENCE, talk).await.expect("a proxy that reads");
    client.connection.take()
}

/// A backend sees nothing that can be read in two ways, and one request on a connection.
fn check_request(seen: &[u8]) {
    match strict::read(seen) {
        Err(doubt) => panic!("the backend was left in doubt: {doubt}\n{}", String::from_utf8_lossy(seen)),
        Ok(Some((_, length))) => assert_eq!(length, seen.len(), "{}", String::from_utf8_lossy(seen)),
        // The client, or its time, came to an end.
        Ok(None) => {}
    }
}

/// An answer of HTTP/1.1 begins like one; chunks of an event stream end after events, or the connection is broken.
fn check_answer(answer: &[u8]) {
    if !answer.starts_with(b"HTTP/1.1 ") {
        return;
    }
    let Some(end) = head_length(answer) else { return };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    // Only the whole word is that media type.
    let is_events = head.split("\r\n").any(|field| field == "content-type: text/event-stream");
    let is_stream = is_events && head.contains("\r\ntransfer-encoding: chunked");
    if !is_stream || !head.starts_with("http/1.1 200") {
        return;
    }
    let mut rest = &answer[end..];
    while let Some((data, length)) = first_chunk(rest).expect("a chunk") {
        if data.is_empty() {
            return;
        }
        let chunk = &rest[data];
        rest = &rest[length..];
        // An event beyond `max_event_size` passes as it comes, and so does what a stream of no known dialect ends in.
        let is_last = rest.starts_with(b"0\r\n");
        let is_whole = chunk.ends_with(b"\n") || chunk.ends_with(b"\r") || is_last || chunk.len() >= 1024;
        assert!(is_whole || answer.len() > 1024, "{}", String::from_utf8_lossy(chunk));
    }
}
