//! The doctor without an origin of its own: what it says of the real answer of a backend.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::kit::{
    Backend, LAST_CHUNK, STREAM_HEAD, Within, chunk, signal_to, stream_begun, stream_of, until,
};

const EVENT: &str =
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const BODY: &str = "{\"stream\":true}";

fn doctor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.arg("doctor").args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").kill_on_drop(true);
    command
}

async fn ended(arguments: &[&str]) -> Output {
    doctor(arguments).output().soon().await.expect("the binary")
}

/// What the doctor says of the answer of this backend: its exit code, and its report.
async fn watched(backend: &Backend, more: &[&str]) -> (Option<i32>, Value) {
    let url = format!("app={}/v1/chat/completions", backend.url);
    let output = ended(&[&["--json", &url], more].concat()).await;
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Likewise: the exit code, the verdict, and the ids of what was found.
async fn verdict(backend: &Backend, more: &[&str]) -> (Option<i32>, String, Vec<String>) {
    let (code, said) = watched(backend, more).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let findings = said["findings"].as_array().expect("findings");
    (code, text(&said["tests"][0]["verdict"]), findings.iter().map(|finding| text(&finding["id"])).collect())
}

fn expected(code: i32, verdict: &str, findings: &[&str]) -> (Option<i32>, String, Vec<String>) {
    (Some(code), verdict.to_owned(), findings.iter().map(|id| (*id).to_owned()).collect())
}

fn response(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_complete_stream_is_the_only_good_answer() {
    let backend = Backend::that_answers(stream_of([EVENT, EVENT, DONE].concat())).await;
    assert_eq!(verdict(&backend, &["-d", BODY]).await, expected(0, "complete", &[]));
}

#[tokio::test]
async fn an_answer_with_another_status_is_refused_with_the_first_line_of_its_body() {
    for status in ["401 Unauthorized", "404 Not Found", "429 Too Many Requests", "500 Internal Server Error"]
    {
        let body = format!("\n no\x1b[31m key: {}\nsecond line", "x".repeat(300));
        let backend = Backend::that_answers(response(status, "text/plain", &body)).await;
        let (code, said) = watched(&backend, &["-d", BODY]).await;
        assert_eq!(code, Some(3), "{said:#}");
        assert_eq!(said["tests"][0]["verdict"], "refused");
        let finding = &said["findings"][0];
        assert_eq!((&finding["id"], &finding["severity"]), (&"unreachable".into(), &"error".into()));
        let summary = finding["summary"].as_str().expect("a text");
        let begins = format!("the request is refused: status {}: no[31m key: xxx", &status[..3]);
        assert!(summary.starts_with(&begins) && summary.ends_with("xxx…"), "{summary}");
    }
}

#[tokio::test]
async fn a_refusal_that_is_passed_on_is_one_finding_at_the_innermost_point() {
    let refusing = async |status: &str| {
        Backend::that_answers(response(status, "text/plain", &format!("request {}", uuid::Uuid::new_v4())))
            .await
    };
    let (app, edge) = (refusing("401 Unauthorized").await, refusing("401 Unauthorized").await);
    let cdn = refusing("403 Forbidden").await;
    let points = [("edge", &edge), ("cdn", &cdn)].map(|(name, backend)| format!("{name}={}", backend.url));
    let (code, said) = watched(&app, &["-d", BODY, &points[0], &points[1]]).await;
    assert_eq!(code, Some(3));
    let between: Vec<_> =
        said["findings"].as_array().expect("findings").iter().map(|finding| &finding["between"]).collect();
    assert_eq!(
        between,
        [&serde_json::json!(["backend", "app"]), &serde_json::json!(["edge", "cdn"])],
        "{said:#}"
    );
}

#[tokio::test]
async fn a_redirection_is_refused_with_where_it_leads() {
    let moved = "HTTP/1.1 301 Moved Permanently\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n";
    let backend = Backend::that_answers(moved).await;
    let (code, said) = watched(&backend, &["-d", BODY]).await;
    assert_eq!(code, Some(3));
    assert_eq!(
        said["findings"][0]["summary"],
        "the request is refused: status 301: it is at https://elsewhere/"
    );
}

#[tokio::test]
async fn what_is_no_stream_is_called_that_and_is_no_finding() {
    let no_content = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let html = response("200 OK", "text/html", "<!DOCTYPE html>\n<title>Sign in</title>");
    let json = response("200 OK", "application/json", "{\"choices\":[]}");
    for answer in [no_content, html, json] {
        let backend = Backend::that_answers(&answer).await;
        assert_eq!(verdict(&backend, &["-d", BODY]).await, expected(3, "not_a_stream", &[]), "{answer}");
        assert_eq!(verdict(&backend, &[]).await, expected(3, "not_a_stream", &[]), "{answer}");
    }
}

#[tokio::test]
async fn people_are_told_that_an_answer_is_no_stream_though_one_was_asked_for() {
    let backend = Backend::that_answers(response("200 OK", "application/json", "{\"choices\":[]}")).await;
    let url = format!("app={}/", backend.url);
    for (more, words) in [
        (&["-d", BODY][..], "not a stream, though the request asks for one: application/json"),
        (&[][..], "not a stream: application/json"),
    ] {
        let output = ended(&[&[&*url], more].concat()).await;
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("No good answer at app: {words}")), "{text}");
        assert!(!text.contains("Nothing found"), "{text}");
    }
}

#[tokio::test]
async fn a_stream_without_events_has_none_whatever_comments_it_has() {
    let empty = format!("{STREAM_HEAD}{LAST_CHUNK}").into_bytes();
    for answer in [empty, stream_of(": beat\n\n: beat\n\n")] {
        let backend = Backend::that_answers(answer).await;
        assert_eq!(verdict(&backend, &["-d", BODY]).await, expected(3, "no_events", &[]));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_is_broken() {
    let closes = Backend::script(|mut exchange| async move {
        exchange.whole_request().await;
        exchange.send(stream_begun(EVENT)).await;
    })
    .await;
    assert_eq!(verdict(&closes, &["-d", BODY]).await, expected(3, "broken", &[]));
    let resets = Backend::script(|mut exchange| async move {
        if exchange.whole_request().await.is_some() {
            exchange.send(stream_begun(EVENT)).await;
            exchange.reset();
        }
    })
    .await;
    // A reset may overtake the header.
    let (code, said) = watched(&resets, &["-d", BODY]).await;
    assert!(matches!(code, Some(1 | 3)), "{said:#}");
}

#[tokio::test]
async fn an_error_event_is_an_error_that_is_reported() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\n\n";
    let backend = Backend::that_answers(stream_of([EVENT, error, DONE].concat())).await;
    assert_eq!(verdict(&backend, &["-d", BODY]).await, expected(3, "reported_error", &[]));
}

#[tokio::test]
async fn a_stream_that_stops_short_leaves_open_who_has_cut_it() {
    let backend = Backend::that_answers(stream_of(EVENT)).await;
    let (code, said) = watched(&backend, &["-d", BODY]).await;
    assert_eq!((code, &said["tests"][0]["verdict"]), (Some(3), &"truncated".into()));
    let finding = &said["findings"][0];
    assert_eq!(finding["id"], "cut_looks_complete");
    assert!(finding["summary"].as_str().expect("a text").ends_with("or the backend itself stopped"));
    let remedies = finding["remedy"].as_array().expect("remedies");
    assert!(!remedies.is_empty() && remedies.iter().all(|remedy| remedy["for"] == "any"), "{remedies:#?}");
}

#[tokio::test]
async fn an_answer_that_outlasts_the_watch_is_still_running() {
    let backend = Backend::that_begins(stream_begun(EVENT)).await;
    assert_eq!(verdict(&backend, &["-d", BODY, "--idle", "1s"]).await, expected(3, "still_running", &[]));
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_keep_is_called_that() {
    let backend = Backend::script(|mut exchange| async move {
        if exchange.whole_request().await.is_none() {
            return;
        }
        exchange.send(STREAM_HEAD).await;
        let event = chunk(format!("data: {}\n\n", "x".repeat(1 << 20)));
        while exchange.try_send(&event).await.is_ok() {}
    })
    .await;
    assert_eq!(verdict(&backend, &["-d", BODY]).await, expected(3, "too_large", &[]));
}

#[tokio::test]
async fn no_answer_is_a_failure_that_speaks_of_no_origin() {
    let mut backend = Backend::that_is_down().await;
    backend.stops_listening().await;
    let output = ended(&[&backend.url, "-d", BODY]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no point gave an answer") && !text.contains("token"), "{text}");
}

#[tokio::test]
async fn a_real_answer_has_the_members_of_its_schema() {
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/doctor.schema.json")).expect("a schema of JSON");
    let tests = schema["$defs"]["test"]["oneOf"].as_array().expect("tests");
    let answer = tests.iter().find(|test| test["properties"]["id"]["const"] == "answer").expect("a test");
    let mut members: Vec<_> = answer["properties"].as_object().expect("members").keys().collect();
    members.sort_unstable();
    let backend = Backend::that_answers(stream_of([EVENT, DONE].concat())).await;
    let (_, said) = watched(&backend, &["-d", BODY]).await;
    let mut there: Vec<_> = said["tests"][0].as_object().expect("members").keys().collect();
    there.sort_unstable();
    assert_eq!(there, members);
}

/// Interrupts the doctor when this is ready, and returns how that ended.
async fn interrupted(when: impl Future, signal: Signal, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = doctor(&[&["--json"], arguments].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary");
    when.soon().await;
    signal_to(child.id().expect("a process"), signal);
    let output = child.wait_with_output().soon().await.expect("the binary");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[tokio::test]
async fn a_watch_that_is_interrupted_tells_what_it_has_seen() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut backend = Backend::that_never_answers().await;
        let (url, other) = (backend.url.clone(), format!("other={}", backend.url));
        let (ended, said) = interrupted(backend.saw_request(), signal, &[&url, "-d", BODY, &other]).await;
        assert_eq!((ended, &said["findings"]), (Some(code), &serde_json::json!([])), "{said:#}");
        let tests = said["tests"].as_array().expect("tests");
        assert_eq!(tests.len(), 2);
        assert!(
            tests.iter().all(|test| test["result"] == "failed" && test["why"] == "interrupted"),
            "{said:#}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_interrupted_is_told_as_far_as_it_came() {
    // Its client has read what was sent before when it has taken more than sockets hold.
    let sent = Arc::new(Notify::new());
    let has_sent = sent.clone();
    let backend = Backend::script(move |mut exchange| {
        let has_sent = has_sent.clone();
        async move {
            if exchange.whole_request().await.is_none() {
                return;
            }
            exchange.send(STREAM_HEAD).await;
            exchange.send(chunk(format!("{EVENT}: {}\n\n", "x".repeat(16 << 20)))).await;
            has_sent.notify_one();
            exchange.closed().await;
        }
    })
    .await;
    let (code, said) = interrupted(sent.notified(), Signal::INT, &[&backend.url, "-d", BODY]).await;
    let answer = &said["tests"][0];
    assert_eq!(code, Some(130));
    assert_eq!((&answer["ended"], &answer["verdict"]), (&"left".into(), &"still_running".into()), "{said:#}");
    assert_eq!(answer["events"], 1, "{said:#}");
}

#[tokio::test]
async fn a_second_signal_ends_the_doctor_while_its_output_is_blocked() {
    let (mut output, _never_read) = UnixStream::pair().expect("sockets");
    output.set_nonblocking(true).expect("a socket");
    while output.write(&[b'\n'; 4096]).is_ok() {}
    output.set_nonblocking(false).expect("a socket");
    let mut backend = Backend::that_never_answers().await;
    let mut child = doctor(&[&backend.url, "-d", BODY])
        .stdout(Stdio::from(OwnedFd::from(output)))
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    backend.saw_request().soon().await;
    let id = child.id().expect("a process");
    // Signals of a kind that are pending at the same time arrive as one.
    let ended = until(async || {
        let ended = child.try_wait().expect("a process");
        if ended.is_none() {
            signal_to(id, Signal::INT);
        }
        ended
    });
    assert_eq!(ended.soon().await.code(), Some(130));
}

#[tokio::test]
async fn a_probe_that_is_interrupted_tells_what_it_has_seen() {
    let mut backend = Backend::that_never_answers().await;
    let (token, url) = ("0123456789abcdef-token", backend.url.clone());
    let (code, said) = interrupted(backend.saw_request(), Signal::TERM, &["--token", token, &url]).await;
    assert_eq!((code, &said["findings"]), (Some(143), &serde_json::json!([])), "{said:#}");
    assert_eq!(said["tests"][0]["id"], "fields");
    assert_eq!(
        (&said["tests"][0]["result"], &said["tests"][0]["why"]),
        (&"failed".into(), &"interrupted".into())
    );
}
