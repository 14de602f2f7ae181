//! The process as its operators meet it: reloads, upgrades, handed-over sockets, and what systemd is told.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::kit::{Backend, Client, LAST_CHUNK, Process, Within, chunk, signal_to, stream_begun, until};

/// A backend that streams an event at each word of the test to `/stream`, and answers everything else at once.
async fn backend() -> (Backend, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    let backend = Backend::script(move |mut exchange| {
        let told = told.clone();
        async move {
            while let Some(head) = exchange.request().await {
                if !head.starts_with("GET /stream") {
                    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                    continue;
                }
                exchange.send(stream_begun("data: 1\n\n")).await;
                told.notified().await;
                exchange.send([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat()).await;
            }
        }
    })
    .await;
    (backend, go_on)
}

async fn begin_stream(process: &Process) -> Client {
    let mut client = process.client().await;
    assert_eq!(client.get("/stream").await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 1\n\n"[..]));
    client
}

async fn end_stream(mut client: Client) {
    assert_eq!(client.chunk().await.as_deref(), Some(&b"data: 2\n\n"[..]));
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn a_reload_holds_for_new_requests_and_touches_no_stream() {
    let ((backend, go_on), (other, _)) = (backend().await, backend().await);
    let mut process = Process::in_front_of(&backend, "").await;
    let stream = begin_stream(&process).await;

    process.configure(&other, "limits: { max_request_body: 1KiB }");
    process.signal(Signal::HUP);
    process.told("RELOADING=1").await;
    process.told("READY=1").await;
    assert_eq!(process.client().await.get("/").await.status, 200);
    assert_eq!((backend.connections(), other.connections()), (1, 1));
    let mut client = process.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9999\r\n\r\n").await;
    assert_eq!(client.response().await.status, 413);

    go_on.notify_one();
    end_stream(stream).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so() {
    let (backend, go_on) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let stream = begin_stream(&process).await;
    process.configure_badly();
    process.signal(Signal::HUP);
    process.logs("the configuration has mistakes, so the running one stays in effect").await;
    process.logs("sidestream.yaml:1:1: `upstreams` is missing").await;
    process.logs("sidestream.yaml:1:12: listeners: `here` is not a list").await;
    process.told("READY=1").await;
    assert_eq!(process.client().await.get("/").await.status, 200);
    go_on.notify_one();
    end_stream(stream).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let (backend, _) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    process.configure(&backend, "access_log: off\nserver: { threads: 3 }");
    // However often it is read.
    for _ in 0..2 {
        process.signal(Signal::HUP);
        let line = process.logs("these have changed as well").await;
        assert!(line.contains("access_log, server.threads"), "{line}");
    }
}

#[tokio::test]
async fn a_hundred_reloads_under_load_break_nothing() {
    let (backend, go_on) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(begin_stream(&process).await);
    }
    let load = Load::start(process.addresses[0], 4);
    for round in 0..100 {
        process.configure(&backend, &format!("stream: {{ heartbeat: {}s }}", round + 1));
        process.signal(Signal::HUP);
        process.logs("the configuration was read again").await;
    }
    let (served, failed) = load.stop().await;
    assert!(served > 0 && failed == 0, "{served} served, {failed} failed");
    go_on.notify_waiters();
    for stream in streams {
        end_stream(stream).await;
    }
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    parent.trim().parse().expect("a process id")
}

#[tokio::test]
async fn an_upgrade_refuses_nobody_and_lets_streams_end_in_the_old_process() {
    let (backend, go_on) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let stream = begin_stream(&process).await;
    let load = Load::start(process.addresses[0], 4);
    load.has_served(50).await;

    process.signal(Signal::USR2);
    let successor = process.told("MAINPID=").await;
    let successor: u32 = successor["MAINPID=".len()..].parse().expect("a process id");
    assert_ne!(successor, process.pid());
    assert_ne!(parent_of(successor), process.pid(), "systemd waits only for its own children");
    load.has_served(500).await;
    let (served, failed) = load.stop().await;
    assert_eq!(failed, 0, "of {served}");

    // The old process is there for its stream, and for nothing else.
    assert_eq!(process.client().await.get("/").await.status, 200);
    go_on.notify_one();
    end_stream(stream).await;
    assert!(process.ended().await.success());
    let mut client = process.client().await;
    assert_eq!(client.get("/").await.status, 200, "the successor serves");
    drop(client);
    signal_to(successor, Signal::TERM);
    is_refused(process.addresses[0]).await;
}

#[tokio::test]
async fn a_successor_that_fails_changes_nothing() {
    let (backend, go_on) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let stream = begin_stream(&process).await;
    process.configure_badly();
    process.signal(Signal::USR2);
    process.logs("the successor has ended").await;
    assert_eq!(process.client().await.get("/").await.status, 200);
    go_on.notify_one();
    end_stream(stream).await;
}

#[tokio::test]
async fn a_successor_that_cannot_be_started_is_told_with_its_path() {
    let (backend, _) = backend().await;
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("sidestream");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sidestream"), &program).expect("a program");
    let mut process = Process::of_program(&program, &backend).await;
    std::fs::remove_file(&program).expect("a program");
    process.signal(Signal::USR2);
    let line = process.logs("the successor could not be started").await;
    assert!(line.contains(&format!("program={}", program.display())), "{line}");
    assert_eq!(process.client().await.get("/").await.status, 200);
}

#[tokio::test]
async fn sockets_are_taken_over_from_whoever_starts_it() {
    let (backend, _) = backend().await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    // Who comes before it runs just waits.
    let mut early = Client::connect(address).await;
    early.send_get("/").await;
    let process = Process::start(&backend, "", &address.to_string(), vec![socket.into()]).await;
    assert_eq!(process.addresses[0], address);
    assert_eq!(early.response().await.status, 200);
}

#[tokio::test]
async fn stopping_refuses_new_connections_and_ends_with_the_last_stream() {
    let (backend, go_on) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let mut idle = process.client().await;
    idle.get("/").await;
    assert_eq!(idle.exactly(2).await, b"ok");
    let stream = begin_stream(&process).await;
    process.signal(Signal::TERM);
    process.told("STOPPING=1").await;
    is_refused(process.addresses[0]).await;
    assert!(idle.is_closed().await, "an idle connection is closed at once");
    let mut admin = Client::connect(process.addresses[1]).await;
    assert_eq!(admin.get("/readyz").await.status, 503);
    go_on.notify_one();
    end_stream(stream).await;
    assert!(process.ended().await.success());
}

#[tokio::test]
async fn systemd_is_told_what_is_open_and_that_the_process_lives() {
    let (backend, _) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let _streams = (begin_stream(&process).await, begin_stream(&process).await);
    process.told("STATUS=2 requests on 2 connections").await;
    process.told("WATCHDOG=1").await;
    process.told("WATCHDOG=1").await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (backend, _) = backend().await;
    let mut process = Process::in_front_of(&backend, "").await;
    let _stream = begin_stream(&process).await;
    process.signal(Signal::TERM);
    process.told("STOPPING=1").await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(1));
}

/// Waits until nobody listens there.
async fn is_refused(address: std::net::SocketAddr) {
    until(async || TcpStream::connect(address).await.is_err().then_some(())).soon().await;
}

/// Clients that open a connection for each request, one after the other.
struct Load {
    stopping: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    fn start(address: std::net::SocketAddr, clients: usize) -> Self {
        let (stopping, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |stopping: Arc<AtomicBool>, served: Arc<AtomicUsize>| async move {
            let mut failed = 0;
            while !stopping.load(Ordering::Relaxed) {
                if one_request(address).await.is_ok() {
                    served.fetch_add(1, Ordering::Relaxed);
                } else {
                    failed += 1;
                }
            }
            failed
        };
        let clients = (0..clients).map(|_| tokio::spawn(client(stopping.clone(), served.clone()))).collect();
        Self { stopping, served, clients }
    }

    /// Waits until so many more requests were served.
    async fn has_served(&self, more: usize) {
        let enough = self.served.load(Ordering::Relaxed) + more;
        until(async || (self.served.load(Ordering::Relaxed) >= enough).then_some(())).soon().await;
    }

    /// Returns how many requests were served, and how many failed.
    async fn stop(self) -> (usize, usize) {
        self.stopping.store(true, Ordering::Relaxed);
        let mut failed = 0;
        for client in self.clients {
            failed += client.await.expect("a client");
        }
        (self.served.load(Ordering::Relaxed), failed)
    }
}

async fn one_request(address: std::net::SocketAddr) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut tcp = TcpStream::connect(address).await?;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"ok") {
        Ok(())
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[tokio::test]
async fn the_journal_gets_a_priority_for_each_line_and_no_time() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (config, log) = (folder.path().join("sidestream.yaml"), folder.path().join("journal"));
    let upstream = "upstreams: { llm: { servers: [http://127.0.0.1:1] } }\nadmin: off\n";
    std::fs::write(&config, format!("listeners: [{{ address: 127.0.0.1:0 }}]\n{upstream}")).expect("a file");
    let journal = std::fs::File::create(&log).expect("a file");
    let is = journal.metadata().expect("a file");
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(["run", "--config"])
        .arg(&config)
        .env("JOURNAL_STREAM", format!("{}:{}", is.dev(), is.ino()))
        .env_remove("RUST_LOG")
        .stderr(journal)
        .kill_on_drop(true)
        .spawn()
        .expect("the program");
    let logged = async |words: &str| {
        let look = async || std::fs::read_to_string(&log).ok().filter(|text| text.contains(words));
        until(look).soon().await
    };
    let text = logged("listening").await;
    assert!(text.starts_with("<6> INFO "), "{text}");
    std::fs::write(&config, "listeners: here\nupstreams: there\n").expect("a file");
    signal_to(process.id().expect("a process"), Signal::HUP);
    let text = logged("upstreams: `there`").await;
    let (before, mistakes) = text.split_once("<3>ERROR ").expect("an error");
    assert!(before.lines().all(|line| line.starts_with("<6>")), "{text}");
    assert!(mistakes.lines().skip(1).all(|line| line.starts_with("<3>")), "{text}");
    process.start_kill().expect("a process");
}
