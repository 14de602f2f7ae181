//! The command line: messages, exit codes, help.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

fn sidestream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary")
}

fn file(yaml: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), yaml).expect("a file");
    file
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_prints_the_effective_configuration_and_succeeds() {
    let file =
        file("listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { servers: [http://127.0.0.1:1] } }\n");
    let output = sidestream(&["check", "--config", file.path().to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("idle_timeout: 5m"));
    assert!(text(&output.stderr).contains("the configuration is valid"));
}

#[test]
fn check_and_run_name_the_mistake_and_exit_with_2() {
    let file = file("listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { servers: [] } }\n");
    for command in ["check", "run"] {
        let path = file.path().to_str().expect("a path");
        let output = sidestream(&[command, "--config", path]);
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(message.starts_with(&format!("error: {path}:2:")), "{message}");
        assert!(!message.contains('\u{1b}'), "no colours when they are not wanted");
    }
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let output = sidestream(&["run", "--config", "/nowhere/x.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.starts_with("error: cannot read /nowhere/x.yaml: No such file"), "{message}");
}

#[test]
fn a_port_in_use_is_told_at_once_and_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        sidestream(&["run", "--listen", &address, "--upstream", "http://127.0.0.1:1", "--admin", "off"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    let expected = format!("error: listeners[0].address: cannot listen on {address}: Address already in use");
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("choose another port"), "{message}");
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    let output = sidestream(&["run", "--upstream", "localhost"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: --upstream: `localhost` is not the URL of a server"));
    let output = sidestream(&["run", "--upstream", "http://127.0.0.1:1", "--listen", "8080"]);
    assert!(text(&output.stderr).starts_with("error: --listen: `8080` is not an address"));
}

#[test]
fn without_a_backend_nothing_runs() {
    let output = sidestream(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--config"));
}

#[test]
fn help_and_version_teach() {
    let help = text(&sidestream(&["--help"]).stdout);
    assert!(help.contains("sidestream run --listen") && help.contains("Exit codes"), "{help}");
    assert!(text(&sidestream(&["--version"]).stdout).starts_with("sidestream 0.1.0"));
}

#[test]
fn authorities_that_cannot_be_read_are_told_where_they_are_needed_and_do_not_matter_elsewhere() {
    let broken = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(broken.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    let run = |upstream: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
        command.args(["run", "--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "off"]);
        command.env("SSL_CERT_FILE", broken.path()).env("NO_COLOR", "1").env_remove("RUST_LOG");
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary")
    };
    let output = run("https://localhost").wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    let expected = "error: upstreams.default: the system's certificate authorities cannot be read";
    assert!(message.starts_with(expected), "{message}");

    let mut process = run("http://127.0.0.1:1");
    let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("UTF-8");
    let address = line.rsplit("address=").next().expect("an address");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("a connection");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    process.kill().expect("a process");
    process.wait().expect("an end");
}
