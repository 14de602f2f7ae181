//! The demo: what it tells people to try is what they then see.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

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

/// Runs a printed command line as a shell does, for at most three seconds.
fn try_out(command: &str) -> Child {
    let command = command.replacen("curl", "curl -s --max-time 3", 1);
    Command::new("sh").args(["-c", &command]).stdout(Stdio::piped()).spawn().expect("a shell")
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

    let [fine, torn, dead, short, stalled, buffered, ignoring] =
        ["well-behaved", "tears", "dies", "stops-short", "stalls", "buffers", "ignores-cancel"]
            .map(|model| try_out(demo.command(model)))
            .map(received);
    for stream in [&fine, &torn, &ignoring] {
        assert!(stream.matches("data: {").count() > 3, "{stream}");
    }
    // A chunk: its size, CRLF, its bytes, CRLF.
    let mut chunks = torn.split_terminator("\n\n\r\n").filter_map(|chunk| chunk.split_once("\r\n"));
    assert!(chunks.all(|(_, event)| event.starts_with("data: {")), "{torn}");
    assert!(dead.contains("event: error"), "{dead}");
    assert!(short.contains("event: error") && short.contains("upstream_truncated"), "{short}");
    assert!(stalled.ends_with(": heartbeat\n"), "{stalled}");
    assert!(buffered.starts_with(": heartbeat\n"), "{buffered}");

    let metrics = received(try_out(demo.command("/metrics")));
    assert!(metrics.contains("sidestream_time_to_first_event_seconds_count"), "{metrics}");
    let log = demo.interrupt();
    assert!(log.contains("CANCELLED") && log.contains("for nobody"), "{log}");
}
