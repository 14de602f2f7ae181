//! Invariants of the whole relay between two scripted peers, over real sockets, for arbitrary bytes of both.

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

/// The timeout of each peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client waits for more bytes. Longer than the timeouts of the proxy.
const QUIET: Duration = Duration::from_millis(100);

/// A sidestream between a client and a backend in this process.
struct Bench {
    runtime: Runtime,
    /// The address for clients.
    socket: PathBuf,
    ends: Mutex<Ends>,
    _proxy: Sidestream,
    _backend: Backend,
    _folder: TempDir,
}

/// The answer for the backend to send, and the requests that it received.
struct Ends {
    answer: Arc<Mutex<Vec<Vec<u8>>>>,
    seen: mpsc::Receiver<Vec<u8>>,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        // Without this hook, a panic in a task would only close its connection.
        std::panic::set_hook(Box::new(|panic| {
            eprintln!("{panic}");
            std::process::abort();
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        // libFuzzer provides `main`, so SIGPIPE is not ignored as in a Rust program.
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

/// Sends the answer in pieces after a complete request head, and reports the bytes received.
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
    timeout(PATIENCE, talk).await.expect("the proxy must end its exchanges");
    let _ = say.send(exchange.connection.take());
}

/// `input`: a byte for the share of the client, a byte for the size of pieces, and the bytes of both sides.
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
    let mut client = Client::over(UnixStream::connect(socket).await.expect("the proxy must be running"));
    // The proxy waits for the rest of a partial body, so the client ends after silence.
    let talk = client.connection.converse(pieces, Duration::ZERO, false, |_| Some(QUIET));
    timeout(PATIENCE, talk).await.expect("the proxy must read");
    client.connection.take()
}

/// The backend receives only unambiguous requests, and one per connection.
fn check_request(seen: &[u8]) {
    match strict::read(seen) {
        Err(doubt) => {
            panic!("the backend received an ambiguous request: {doubt}\n{}", String::from_utf8_lossy(seen))
        }
        Ok(Some((_, length))) => assert_eq!(length, seen.len(), "{}", String::from_utf8_lossy(seen)),
        // The request is incomplete, because the client stopped or timed out.
        Ok(None) => {}
    }
}

/// Chunks of an event stream over HTTP/1.1 end at event boundaries, or the connection is broken.
fn check_answer(answer: &[u8]) {
    if !answer.starts_with(b"HTTP/1.1 ") {
        return;
    }
    let Some(end) = head_length(answer) else { return };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    // Only an exact match is an event stream here.
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
        // An event larger than `max_event_size` passes as it arrives. So does the end of a stream of an
        // unknown dialect.
        let is_last = rest.starts_with(b"0\r\n");
        let is_whole = chunk.ends_with(b"\n") || chunk.ends_with(b"\r") || is_last || chunk.len() >= 1024;
        assert!(is_whole || answer.len() > 1024, "{}", String::from_utf8_lossy(chunk));
    }
}
