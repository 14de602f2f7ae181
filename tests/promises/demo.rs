//! The demo: what it tells people to try is what they then see.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A demo on free ports.
struct Demo {
    process: Child,
    said: String,
}

impl Demo {
    /// Starts it and reads what it says until it waits for somebody to try something.
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sidestream"))
            .args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut said = String::new();
        while !said.ends_with("Ctrl-C ends the demo.\n") {
            said += &lines.next().expect("more to say").expect("UTF-8");
            said.push('\n');
        }
        Self { process, said }
    }

    /// The command lines that it printed for this model, or for the metrics.
    fn command(&self, about: &str) -> &str {
        let mut commands = self.said.lines().map(str::trim).filter(|line| line.starts_with("curl"));
        commands.find(|line| line.contains(about)).expect("a command")
    }

    /// What `/streams` says of its servers.
    fn servers(&self) -> Vec<Value> {
        let metrics = self.command("/metrics").split(' ').find(|word| word.starts_with("http"));
        let streams = metrics.expect("an address").replace("/metrics", "/streams");
        let said = received(try_out(&format!("curl {streams}"), 60));
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["upstreams"][0]["servers"].as_array().expect("servers").clone()
    }

    /// Waits until the server that can be killed is in this state.
    fn sees(&self, state: &str) {
        let began = Instant::now();
        while self.servers()[0]["state"] != state {
            assert!(began.elapsed() < Duration::from_secs(60), "{state}: {:?}", self.servers());
        }
    }

    /// Ends it as Ctrl-C does; returns its log.
    fn interrupt(mut self) -> String {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().expect("a signal");
        let mut log = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut log).expect("UTF-8");
        assert!(self.process.wait().expect("an end").success(), "{log}");
        log
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A demo that has ended cannot be killed.
        let _ = self.process.kill();
    }
}

/// Runs a printed command line as a shell does, for at most so many seconds.
fn try_out(command: &str, seconds: u32) -> Child {
    let command = command.replacen("curl", &format!("curl -s --max-time {seconds}"), 1);
    Command::new("sh")
        .args(["-c", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn received(child: Child) -> String {
    let Output { stdout, .. } = child.wait_with_output().expect("an end");
    String::from_utf8(stdout).expect("UTF-8")
}

#[test]
fn its_commands_show_what_it_says_they_show() {
    let demo = Demo::start();
    let [scene, _] = demo.said.split("\n1. ").collect::<Vec<_>>()[..] else { panic!("{}", demo.said) };
    assert!(scene.contains(r#""delta":{"content":"proxy "}"#), "tokens arrive: {scene}");
    assert!(
        scene.contains("event: error") && scene.contains("upstream_closed"),
        "and then the error: {scene}"
    );

    // The slowest server has sent some tokens by then, and the fastest one has not sent all of them.
    let [fine, torn, ignoring] = ["well-behaved", "tears", "ignores-cancel"]
        .map(|model| try_out(demo.command(model), 2))
        .map(received);
    // They end by themselves.
    let [dead, short, stalled, buffered] = ["dies", "stops-short", "stalls", "buffers"]
        .map(|model| try_out(demo.command(model), 60))
        .map(received);
    for stream in [&fine, &torn, &ignoring] {
        assert!(stream.matches("data: {").count() > 3, "{stream}");
    }
    // A chunk: its size, CRLF, its bytes, CRLF.
    let mut chunks = torn.split_terminator("\n\n\r\n").filter_map(|chunk| chunk.split_once("\r\n"));
    assert!(chunks.all(|(_, event)| event.starts_with("data: {")), "{torn}");
    assert!(dead.contains("event: error"), "{dead}");
    assert!(short.contains("event: error") && short.contains("upstream_truncated"), "{short}");
    assert!(stalled.contains(": heartbeat\n") && stalled.contains("idle_timeout"), "{stalled}");
    assert!(buffered.starts_with(": heartbeat\n") && buffered.ends_with("data: [DONE]\n\n"), "{buffered}");

    let metrics = received(try_out(demo.command("/metrics"), 60));
    assert!(metrics.contains("sidestream_time_to_first_event_seconds_count"), "{metrics}");
    let log = demo.interrupt();
    assert!(log.contains("CANCELLED") && log.contains("for nobody"), "{log}");
}

#[test]
fn what_it_prints_fits_a_terminal() {
    let demo = Demo::start();
    let is_command = |line: &str| line.trim_start().starts_with("curl") || line.contains("sidestream doctor");
    let is_long = |line: &&str| line.chars().count() > 80 && !is_command(line);
    assert_eq!(demo.said.lines().find(is_long), None, "a line that is no command");
    assert!(demo.said.lines().count() < 80, "{}", demo.said);
}

#[test]
fn the_model_that_buffers_is_found_by_the_doctor() {
    let demo = Demo::start();
    let command = demo.said.lines().map(str::trim).find(|line| line.contains("sidestream doctor"));
    let doctor = Command::new("sh").args(["-c", command.expect("a command")]).output().expect("a shell");
    let text = String::from_utf8(doctor.stdout).expect("UTF-8");
    assert_eq!(doctor.status.code(), Some(3), "{text}");
    assert!(text.contains("1. warning buffered_to_end: between backend and 127.0.0.1:"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_server_that_is_killed_costs_its_streams_only_and_comes_back() {
    let demo = Demo::start();
    let ask = || try_out(demo.command("well-behaved"), 60);
    // As many as leave each server some.
    let running: Vec<Child> = (0..9).map(|_| ask()).collect();
    let began = Instant::now();
    while demo.servers().iter().any(|server| server["streams"].as_u64().is_none_or(|streams| streams < 3)) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", demo.servers());
    }
    assert_eq!(received(try_out(demo.command("/down"), 60)), "the server is down\n");
    let later: Vec<Child> = (0..6).map(|_| ask()).collect();
    demo.sees("ejected");
    let ends = |answers: Vec<Child>| {
        let answers: Vec<String> = answers.into_iter().map(received).collect();
        let count = |end: &str| answers.iter().filter(|answer| answer.contains(end)).count();
        let (whole, broken) = (count("data: [DONE]"), count("event: error"));
        assert_eq!(whole + broken, answers.len(), "{answers:?}");
        broken
    };
    let broken = ends(running);
    assert!((1..9).contains(&broken), "{broken} of the streams that ran");
    assert_eq!(ends(later), 0, "of those that came later");

    assert_eq!(received(try_out(demo.command("/up"), 60)), "the server is up\n");
    demo.sees("up");
    assert!(demo.interrupt().contains("is DOWN"));
}

#[test]
fn more_requests_than_its_servers_carry_wait_and_none_is_refused() {
    let demo = Demo::start();
    let command = demo.command("[1-40]").replace("-o /dev/null", "-o /dev/null -w '%{http_code}\\n'");
    let said = received(try_out(&command, 60));
    let statuses: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(statuses, ["200"; 40], "{said}");
    let metrics = received(try_out(demo.command("/metrics"), 60));
    let served =
        metrics.lines().find(|line| line.starts_with("sidestream_queue_seconds_count{outcome=\"served\""));
    assert!(served.is_some_and(|line| !line.ends_with(" 0")), "some waited: {metrics}");
}
