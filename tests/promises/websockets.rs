//! Real programs use WebSockets through sidestream, in plaintext and over TLS on both sides. The peers are
//! Python's `websockets` library as backend and client, the `ws` package of Node, and a page in Chromium.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::kit::{Authority, Sidestream, Within};

/// The result of each case, as a client reports it in JSON.
const SEEN: [(&str, &str); 12] = [
    ("text", "true"),
    ("binary", "true"),
    ("large_text", "true"),
    ("large_binary", "true"),
    ("pings", r#""answered""#),
    ("closed_by_backend", r#"[4321, "that is enough"]"#),
    ("closed_by_client", "4322"),
    // As negotiated by the client and by the backend.
    ("compressed", r#"[["permessage-deflate"], ["permessage-deflate"]]"#),
    ("uncompressed", "[[], []]"),
    ("subprotocol", r#"["chat.v1", "chat.v1"]"#),
    ("refused", r#"[401, "application/json", "invalid_api_key"]"#),
    ("flood", "[2000, true]"),
];

/// A page cannot disable compression, and does not see why it was refused.
const SEEN_BY_A_PAGE: [(&str, Option<&str>); 2] =
    [("uncompressed", None), ("refused", Some(r#""closed: 1006""#))];

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn python() -> Command {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.exists(), "the clients are missing: run `make test`, which installs them");
    Command::new(python)
}

/// Starts the backend. Returns its plaintext and TLS ports.
async fn backend(authority: &Authority) -> (Child, [u16; 2]) {
    let mut backend = python()
        .arg(clients().join("websocket_backend.py"))
        .args([authority.path("cert.pem"), authority.path("key.pem")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("Python");
    let mut lines = BufReader::new(backend.stdout.take().expect("a pipe")).lines();
    let ports = lines.next_line().soon().await.expect("a pipe").expect("a backend that runs");
    (backend, serde_json::from_str(&ports).expect("two ports"))
}

/// Runs a client to its end. Returns what it reports.
async fn run(mut client: Command) -> Vec<Value> {
    let output = client.stdin(Stdio::null()).kill_on_drop(true).output();
    // A browser takes long to start.
    let output = output.within(Duration::from_secs(120)).await.expect("a client");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn expected(urls: &[String], is_page: bool) -> Vec<Value> {
    let saw = |case, of_all| match SEEN_BY_A_PAGE.iter().find(|(name, _)| is_page && *name == case) {
        Some((_, of_a_page)) => *of_a_page,
        None => Some(of_all),
    };
    let line = |url: &String, (case, of_all)| {
        let saw: Value = serde_json::from_str(saw(case, of_all)?).expect("JSON");
        Some(json!({ "url": url, "case": case, "saw": saw }))
    };
    urls.iter().flat_map(|url| SEEN.into_iter().filter_map(move |seen| line(url, seen))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_programs_see_the_same_with_and_without_sidestream() {
    let authority = Authority::new();
    let (_backend, [plain_port, tls_port]) = backend(&authority).await;
    let plain = Sidestream::before(format!("http://127.0.0.1:{plain_port}")).start().await;
    let ca = authority.path("ca.pem");
    let tls = Sidestream::before(format!("https://127.0.0.1:{tls_port}"))
        .listener(authority.listener())
        .upstream(format!("tls: {{ ca: {}, server_name: localhost }}", ca.display()))
        .start()
        .await;
    let urls = [format!("ws://{}", plain.address), format!("wss://{}", tls.address)];

    let (mut websockets, mut ws, mut page) = (python(), Command::new("node"), Command::new("node"));
    websockets.arg(clients().join("websocket_client.py")).arg(&ca).args(&urls);
    ws.arg(clients().join("websocket_client.mjs")).arg(&ca).args(&urls);
    page.arg(clients().join("websocket_page.mjs")).args(&urls);
    let (websockets, ws, page) = tokio::join!(run(websockets), run(ws), run(page));
    for (name, said, is_page) in
        [("websockets", websockets, false), ("ws", ws, false), ("Chromium", page, true)]
    {
        let expected = expected(&urls, is_page);
        for (said, expected) in said.iter().zip(&expected) {
            assert_eq!(said, expected, "{name}");
        }
        assert_eq!(said.len(), expected.len(), "{name}: {said:?}");
    }
}
