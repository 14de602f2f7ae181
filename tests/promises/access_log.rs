//! One line of JSON for each request, which nobody can forge and nobody waits for.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::kit::{Backend, Client, Setup, Sidestream, Within, log_lines, stream_of, until};

const CHAT: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n",
    "data: [DONE]\n\n",
);

fn with_log(backend: &Backend, log: &Path) -> Setup {
    Sidestream::before(&backend.url).access_log(log)
}

async fn chat_backend() -> Backend {
    Backend::script(|mut exchange| async move {
        while exchange.whole_request().await.is_some() {
            exchange.send(stream_of(CHAT)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_line_says_what_became_of_a_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = chat_backend().await;
    let proxy = with_log(&backend, &log).start().await;
    let mut client = proxy.client().await;
    let body = r#"{"model":"gpt-4o","stream":true}"#;
    client
        .send(format!(
            "POST /v1/chat/completions?key=secret HTTP/1.1\r\nHost: llm.test\r\nUser-Agent: test/1\r\n\
             Authorization: Bearer secret\r\nX-Request-Id: r-1\r\nContent-Length: {}\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n{body}",
            body.len()
        ))
        .await;
    client.response().await;
    client.text().await;
    let [line] = &log_lines(&log, 1).await[..] else { panic!("one line") };
    for (name, value) in [
        ("http.request.method", Value::from("POST")),
        ("url.path", "/v1/chat/completions".into()),
        ("server.address", "llm.test".into()),
        ("client.address", "127.0.0.1".into()),
        ("user_agent.original", "test/1".into()),
        ("network.protocol.version", "1.1".into()),
        ("http.route", "default".into()),
        ("upstream", "llm".into()),
        ("upstream.server", format!("http://{}", backend.address).into()),
        ("http.response.status_code", 200.into()),
        ("kind", "stream".into()),
        ("outcome", "completed".into()),
        ("ended_by", "backend".into()),
        ("phase", "streaming".into()),
        ("events", 4.into()),
        ("bytes", CHAT.len().into()),
        ("heartbeats", 0.into()),
        ("gen_ai.request.model", "gpt-4o".into()),
        ("gen_ai.usage.input_tokens", 3.into()),
        ("gen_ai.usage.output_tokens", 9.into()),
        ("request_id", "r-1".into()),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
        ("parent_id", "00f067aa0ba902b7".into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let seconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
    assert!(seconds("time_to_first_event") <= seconds("time_to_first_token"));
    assert!(seconds("time_to_first_token") <= seconds("duration"));
    let time = line["timestamp"].as_str().expect("a time");
    assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
    assert!(!line.to_string().contains("secret"), "{line}");
}

#[tokio::test]
async fn every_way_to_end_has_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let mut backend = Backend::that_never_answers().await;
    let routes = "routes: [{ match: { path: /v1/ }, upstream: llm }]";
    let proxy = with_log(&backend, &log).more(routes).start().await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/elsewhere").await.status, 404);
    let mut client = proxy.client().await;
    client.send_get("/v1/x").await;
    backend.saw_request().await;
    drop(client);
    let lines = log_lines(&log, 2).await;
    assert_eq!((&lines[0]["kind"], &lines[0]["http.response.status_code"]), (&"refused".into(), &404.into()));
    assert_eq!((&lines[1]["outcome"], &lines[1]["ended_by"]), (&"client_gone".into(), &"client".into()));
    assert_eq!((&lines[1]["phase"], &lines[1]["kind"]), (&"prefill".into(), &"unanswered".into()));
    assert_eq!(lines[1]["http.response.status_code"], 499);
}

#[tokio::test]
async fn nothing_that_a_client_sends_can_forge_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = chat_backend().await;
    let proxy = with_log(&backend, &log).start().await;
    let long = "x".repeat(8 * 1024);
    let hostile = [
        "\",\"outcome\":\"forged\"}",
        "a\tb\u{1b}[31m",
        "\u{2028}\u{85}é",
        "%0a%0d{\"outcome\":\"forged\"}",
        long.as_str(),
    ];
    let mut sent = 0;
    for value in hostile {
        for model in hostile {
            let body = serde_json::json!({ "model": model, "stream": true }).to_string();
            let mut client = proxy.client().await;
            let path: String = value.chars().filter(|c| c.is_ascii_graphic()).collect();
            let field: String = value.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            client
                .send(format!(
                    "POST /{path} HTTP/1.1\r\nHost: test\r\nUser-Agent: {field}\r\nX-Request-Id: {field}\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
            client.response().await;
            sent += 1;
        }
    }
    let lines = log_lines(&log, sent).await;
    assert_eq!(lines.len(), sent);
    for line in lines {
        assert_ne!(line["outcome"], "forged");
        assert!(line.to_string().len() < 4096, "{line}");
    }
}

/// The program itself, with its output where the test wants it.
struct Process(Child);

impl Process {
    fn start(yaml: &str, stdout: Stdio, folder: &Path) -> (Self, [std::net::SocketAddr; 2]) {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_sidestream")), yaml, stdout, folder)
    }

    /// `program` runs it with the arguments that are added.
    fn start_by(
        mut program: Command,
        yaml: &str,
        stdout: Stdio,
        folder: &Path,
    ) -> (Self, [std::net::SocketAddr; 2]) {
        let file = folder.join("sidestream.yaml");
        std::fs::write(&file, yaml).expect("a file");
        let mut child = program
            .args(["run", "--config"])
            .arg(&file)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut address_after = |word: &str| loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("a line"), 0, "it ended");
            if line.contains(word) {
                let from = line.find("127.0.0.1:").expect("an address");
                let end = line[from..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                let address = &line[from..end.map_or(line.len(), |end| from + end)];
                return address.parse().expect("an address");
            }
        };
        let addresses = [address_after("listening"), address_after("metrics")];
        // What else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        (Self(child), addresses)
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("a signal").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn dropped(admin: std::net::SocketAddr) -> f64 {
    let mut client = Client::connect(admin).await;
    let response = client.get("/metrics").await;
    let text = String::from_utf8(client.body_of(&response).await).expect("UTF-8");
    let line = text.lines().find_map(|line| line.strip_prefix("sidestream_access_log_dropped_total "));
    line.expect("the metric").parse().expect("a number")
}

#[tokio::test]
async fn the_log_is_opened_again_at_a_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (process, [address, _]) =
        Process::start(&with_log(&backend, &log).yaml(), Stdio::null(), folder.path());
    let mut client = Client::connect(address).await;
    client.get("/before").await;
    log_lines(&log, 1).await;
    std::fs::rename(&log, &moved).expect("a file");
    process.signal("-USR1");
    until(async || log.exists().then_some(())).soon().await;
    client.get("/after").await;
    assert_eq!(log_lines(&log, 1).await[0]["url.path"], "/after");
    assert_eq!(log_lines(&moved, 1).await.len(), 1);
}

#[tokio::test]
async fn lines_go_to_standard_output_by_default_and_the_last_ones_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    let yaml = with_log(&backend, Path::new("stdout")).yaml();
    let yaml = yaml.lines().filter(|line| !line.starts_with("access_log")).collect::<Vec<_>>().join("\n");
    let (mut process, [address, _]) = Process::start(&yaml, Stdio::piped(), folder.path());
    let mut client = Client::connect(address).await;
    for _ in 0..100 {
        client.get("/").await;
    }
    process.signal("-TERM");
    let stdout = process.0.stdout.take().expect("a pipe");
    let lines = tokio::task::spawn_blocking(|| BufReader::new(stdout).lines().count());
    assert_eq!(lines.soon().await.expect("lines"), 100);
}

#[tokio::test]
async fn neither_a_full_disk_nor_a_pipe_that_nobody_reads_makes_a_request_wait() {
    // Short lines fit into a pipe by the hundreds; these do not.
    let path = format!("/{}", "x".repeat(500));
    for log in ["/dev/full", "stdout"] {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
        let yaml = with_log(&backend, Path::new(log)).yaml();
        let (_process, [address, admin]) = Process::start(&yaml, Stdio::piped(), folder.path());
        let mut client = Client::connect(address).await;
        for _ in 0..5000 {
            assert_eq!(client.get(&path).await.status, 204);
        }
        until(async || (dropped(admin).await >= 1.0).then_some(())).soon().await;
    }
}

/// The lines of a log, each as JSON or torn.
fn lines(log: &Path) -> Vec<Option<Value>> {
    let text = std::fs::read_to_string(log).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_line_of_which_only_a_part_could_be_written_is_ended_before_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let backend = Backend::that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
    // A disk that is full after a kilobyte: what fits of a line is written, the rest is an error.
    let mut full = Command::new("bash");
    full.args(["-c", "trap '' XFSZ; ulimit -S -f 1; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sidestream")]);
    let (process, [address, admin]) =
        Process::start_by(full, &with_log(&backend, &log).yaml(), Stdio::null(), folder.path());
    let mut client = Client::connect(address).await;
    let torn = until(async || {
        client.get("/full").await;
        let text = std::fs::read(&log).expect("a log");
        (text.len() == 1024 && text.last() != Some(&b'\n')).then(|| lines(&log).len())
    });
    let torn = torn.soon().await;
    until(async || (dropped(admin).await >= 1.0).then_some(())).soon().await;

    let pid = process.0.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
    assert!(status.expect("prlimit").success());
    client.get("/space").await;
    let logged = |path: &'static str| {
        let lines = lines(&log);
        lines.iter().flatten().any(|line| line["url.path"] == path).then_some(lines)
    };
    let all = until(async || logged("/space")).soon().await;
    for (index, line) in all.iter().enumerate() {
        assert_eq!(line.is_none(), index + 1 == torn, "only line {torn} is torn: {all:?}");
    }

    // The same across a process that ended with a torn line.
    drop(process);
    let text = std::fs::read(&log).expect("a log");
    std::fs::write(&log, &text[..text.len() - 9]).expect("a log");
    let (_process, [address, _]) =
        Process::start(&with_log(&backend, &log).yaml(), Stdio::null(), folder.path());
    Client::connect(address).await.get("/again").await;
    let all = until(async || logged("/again")).soon().await;
    assert!(matches!(all[all.len() - 2..], [None, Some(_)]), "{all:?}");
}
