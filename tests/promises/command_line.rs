//! The command line: messages, exit codes, help.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

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
fn schema_prints_the_one_that_is_shipped() {
    let output = sidestream(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), include_str!("../../conf/sidestream.schema.json"));
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
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
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
fn half_a_command_line_says_what_to_write() {
    let file =
        file("listeners: [{ address: 127.0.0.1:0 }]\nupstreams: { a: { servers: [http://127.0.0.1:1] } }\n");
    let file = file.path().to_str().expect("a path");
    let backend = "add the backend, such as `--upstream http://127.0.0.1:8000`";
    let either = "set it in the file, or leave out --config";
    for (arguments, message) in [
        (
            &[][..],
            "nothing to run: neither --config nor --upstream is given\n  write `sidestream run --config FILE`, or \
             `sidestream run --upstream http://127.0.0.1:8000`"
                .to_owned(),
        ),
        (&["--listen", "127.0.0.1:0"], format!("--listen needs --upstream\n  {backend}")),
        (&["--admin", "off"], format!("--admin needs --upstream\n  {backend}")),
        (
            &["--config", file, "--upstream", "http://127.0.0.1:1"],
            format!("--upstream cannot be used with --config\n  {either}"),
        ),
        (
            &["--config", file, "--listen", "127.0.0.1:0"],
            format!("--listen cannot be used with --config\n  {either}"),
        ),
        (&["--config", file, "--admin", "off"], format!("--admin cannot be used with --config\n  {either}")),
    ] {
        let output = sidestream(&[&["run"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stderr), format!("error: {message}\n"));
    }
}

#[test]
fn a_file_takes_variables_of_the_environment_and_check_prints_what_comes_of_them() {
    let file = file(
        "listeners: [{ address: '127.0.0.1:${SIDESTREAM_TEST_PORT}' }]\nupstreams: { a: { servers: [http://127.0.0.1:1] } }\n",
    );
    let check = |port: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
        command.args(["check", "--config"]).arg(file.path()).env("NO_COLOR", "1");
        command.envs(port.map(|port| ("SIDESTREAM_TEST_PORT", port)));
        command.output().expect("the binary")
    };
    let output = check(Some("8123"));
    assert!(text(&output.stdout).contains("  - address: \"127.0.0.1:8123\"\n"), "{output:?}");
    let output = check(None);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    let problem = "listeners[0].address: the environment variable `SIDESTREAM_TEST_PORT` is not set";
    assert!(message.starts_with(&format!("error: {}:1:24: {problem}\n", file.path().display())), "{message}");
}

#[test]
fn a_file_in_another_encoding_is_told() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"\xff\xfel\0i\0").expect("a file");
    let output = sidestream(&["check", "--config", file.path().to_str().expect("a path")]);
    assert!(text(&output.stderr).ends_with("\n  save it as UTF-8\n"), "{output:?}");
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
    let mut client = TcpStream::connect(address).expect("a connection");
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("a connection");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    process.kill().expect("a process");
    process.wait().expect("an end");
}

/// A running proxy, with its admin address.
fn proxy(upstream: &str) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", upstream])
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    let mut lines = lines.map(|line| line.expect("UTF-8"));
    let line = lines.find(|line| line.contains("metrics at")).expect("a line");
    let admin = line.rsplit("http://").next().and_then(|url| url.strip_suffix("/metrics"));
    (process, admin.expect("an address").to_owned())
}

#[test]
fn health_succeeds_while_the_process_runs_and_with_ready_while_it_can_serve() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let upstream = format!("http://{}", backend.local_addr().expect("an address"));
    let (mut process, admin) = proxy(&upstream);
    for arguments in [&["health", "--admin", &admin][..], &["health", "--ready", "--admin", &admin]] {
        let output = sidestream(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    process.kill().expect("a process");
    process.wait().expect("an end");

    drop(backend);
    let (mut process, admin) = proxy(&upstream);
    assert_eq!(sidestream(&["health", "--admin", &admin]).status.code(), Some(0));
    let output = sidestream(&["health", "--ready", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    let message = format!("error: http://{admin}/readyz: 503: no backend accepts connections\n");
    assert_eq!(text(&output.stderr), message);
    process.kill().expect("a process");
    process.wait().expect("an end");

    let output = sidestream(&["health", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.starts_with(&format!("error: http://{admin}/healthz: Connection refused")), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn health_fails_when_something_else_answers_or_nothing_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = listener.local_addr().expect("an address").to_string();
    let failure = |answer: Option<&'static [u8]>| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut client, _) = listener.accept().expect("a connection");
                let _ = client.read(&mut [0; 1024]).expect("a request");
                match answer {
                    Some(answer) => client.write_all(answer).expect("a connection"),
                    // Until the client leaves.
                    None => assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0),
                }
            });
            let output = sidestream(&["health", "--admin", &admin]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            text(&output.stderr)
        })
    };
    let of = |problem: &str| format!("error: http://{admin}/healthz: {problem}\n");
    assert_eq!(failure(None), of("no answer within 2 s"));
    assert_eq!(failure(Some(b"220 ready\r\n")), of("the answer is not HTTP"));
    assert_eq!(failure(Some(b"")), of("the answer is not HTTP"));
    assert_eq!(failure(Some(b"HTTP/1.0 404 Not Found\r\n\r\nno\x1b[2J\nno")), of("404: no\\u{1b}[2J"));
}

#[test]
fn health_takes_only_an_address() {
    let output = sidestream(&["health", "--admin", "localhost"]);
    assert_eq!(output.status.code(), Some(2));
    let message = "error: --admin: `localhost` is not an address\n  write an IP address and a port, such as \
                   `127.0.0.1:9090`\n";
    assert_eq!(text(&output.stderr), message);
}

#[test]
fn a_probe_origin_says_where_it_is_its_token_and_what_to_run_next() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(["doctor", "--serve", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let mut line_with = |text: &str| loop {
        let line = lines.next().expect("more to say").expect("UTF-8");
        if line.contains(text) {
            return line;
        }
    };
    let address =
        line_with("listens on").split(' ').next_back().expect("an address").trim_end_matches('.').to_owned();
    let token = line_with("token is").split(' ').next_back().expect("a token").to_owned();
    assert_eq!(token.len(), 32);
    assert_eq!(line_with("--token").trim(), format!("sidestream doctor --token {token} http://{address}/"));
    let mut client = TcpStream::connect(&address).expect("a connection");
    write!(client, "GET /?doctor_token={token}&do=echo HTTP/1.0\r\n\r\n").expect("a connection");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"HTTP/1.0\""), "{answer}");
    Command::new("kill").args(["-TERM", &process.id().to_string()]).status().expect("a signal");
    assert!(process.wait().expect("an end").success());
}

#[test]
fn a_probe_origin_tells_what_is_wrong_with_its_flags() {
    for (arguments, message) in [
        (["--serve", "8000", "--token", "0123456789abcdef"], "error: --serve: `8000` is not an address"),
        (
            ["--serve", "127.0.0.1:0", "--token", "short"],
            "error: --token: a token has at least 16 characters",
        ),
    ] {
        let output = sidestream(&[&["doctor"][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).starts_with(message), "{}", text(&output.stderr));
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = sidestream(&["doctor", "--serve", &address]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.starts_with(&format!("error: --serve: cannot listen on {address}: ")), "{message}");
}
