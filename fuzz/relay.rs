//! The whole relay between two scripted peers, over real sockets: what must hold whatever either of them sends.

use std::path::Path;
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use sidestream::config;
use sidestream::process::{Server, Stop};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::kit::strict;

/// How long a peer waits for what may never come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client waits for more: longer than any of the proxy's timeouts.
const QUIET: Duration = Duration::from_millis(100);

/// A sidestream between a client and a backend, both of which are here.
struct Bench {
    runtime: Runtime,
    folder: TempDir,
    /// What the backend has seen, and what it is to answer.
    backend: Mutex<Backend>,
}

struct Backend {
    answers: mpsc::Sender<Vec<Vec<u8>>>,
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
        let folder = TempDir::new().expect("a folder");
        let _entered = runtime.enter();
        let (answers, to_give) = mpsc::channel();
        let (say, seen) = mpsc::channel();
        let listener = UnixListener::bind(folder.path().join("backend")).expect("a socket");
        runtime.spawn(serve(listener, to_give, say));
        let yaml = format!(
            "listeners: [{{ address: 'unix:{0}/http', header_timeout: 20ms, keepalive_timeout: 1ms }}]\n\
             admin: off\naccess_log: {{ path: {0}/access.log }}\n\
             upstreams: {{ llm: {{ servers: ['unix:{0}/backend'], keepalive_idle: off }} }}\n\
             stream: {{ first_event_timeout: 20ms, idle_timeout: 20ms, heartbeat: 5ms, max_event_size: 1KiB, write_timeout: 1s }}\n\
             limits: {{ max_request_body: 2KiB }}\n",
            folder.path().display()
        );
        let config = config::parse(&yaml, "fuzz.yaml").expect("a valid configuration");
        let server = Server::bind(&config).expect("a socket");
        runtime.spawn(server.run(std::future::pending::<Stop>()));
        Bench { runtime, folder, backend: Mutex::new(Backend { answers, seen }) }
    })
}

/// Gives each connection the answer that is next, in its pieces, after a whole head; and tells what it has read.
async fn serve(listener: UnixListener, answers: mpsc::Receiver<Vec<Vec<u8>>>, say: mpsc::Sender<Vec<u8>>) {
    let mut answer = Vec::new();
    while let Ok((mut socket, _)) = listener.accept().await {
        if let Some(next) = answers.try_iter().last() {
            answer = next;
        }
        let mut seen = Vec::new();
        let exchange = async {
            while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            for piece in &answer {
                let _ = socket.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut seen).await;
        };
        timeout(PATIENCE, exchange).await.expect("a proxy that ends its exchanges");
        let _ = say.send(seen);
    }
}

/// `input`: a byte that says how much of it is the client's, one that says how it is cut, and both sides' bytes.
pub fn relay(input: &[u8]) {
    let [share, cut, bytes @ ..] = input else { return };
    let (client, backend) = bytes.split_at(bytes.len() * usize::from(*share) / 255);
    let bench = bench();
    let ends = bench.backend.lock().expect("no panic");
    let size = 1 + usize::from(*cut) * 4;
    let pieces = |bytes: &[u8]| bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
    ends.answers.send(pieces(backend)).expect("a backend");
    let answer = bench.runtime.block_on(ask(&bench.folder.path().join("http"), pieces(client)));
    for seen in ends.seen.try_iter() {
        check_request(&seen);
    }
    check_answer(&answer);
}

async fn ask(path: &Path, pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let socket = UnixStream::connect(path).await.expect("a proxy that lives");
    let (mut read, mut write) = socket.into_split();
    let mut answer = Vec::new();
    let exchange = async {
        let send = async {
            for piece in pieces {
                // A proxy may have closed the connection already.
                if write.write_all(&piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let receive = async {
            // A client that has sent half a body is waited for: it is silence that ends this one's patience.
            while timeout(QUIET, read.read_buf(&mut answer)).await.is_ok_and(|read| read.unwrap_or(0) > 0) {}
        };
        tokio::join!(send, receive);
    };
    timeout(PATIENCE, exchange).await.expect("a proxy that reads");
    answer
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
    let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { return };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    // Only the whole word is that media type.
    let is_events = head.split("\r\n").any(|field| field == "content-type: text/event-stream");
    let is_stream = is_events && head.contains("\r\ntransfer-encoding: chunked");
    if !is_stream || !head.starts_with("http/1.1 200") {
        return;
    }
    let mut rest = &answer[end + 4..];
    while let Some(line) = rest.windows(2).position(|end| end == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk size");
        let Some(chunk) = rest.get(line + 2..line + 4 + size) else { return };
        assert!(chunk.ends_with(b"\r\n"));
        if size == 0 {
            return;
        }
        let chunk = &chunk[..size];
        rest = &rest[line + 4 + size..];
        // An event beyond `max_event_size` passes as it comes, and so does what a stream of no known dialect ends in.
        let is_last = rest.starts_with(b"0\r\n");
        let is_whole = chunk.ends_with(b"\n") || chunk.ends_with(b"\r") || is_last || size >= 1024;
        assert!(is_whole || answer.len() > 1024, "{}", String::from_utf8_lossy(chunk));
    }
}
