//! Real clients and real servers, with sidestream between them: the drivers in `tests/clients/` play the parts.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs a driver, which fails where it does not see what it must.
fn drive(driver: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "the clients are missing: run `make test`, which installs them");
    let output = Command::new(python)
        .arg(root.join("tests/clients").join(driver))
        .env("SIDESTREAM", env!("CARGO_BIN_EXE_sidestream"))
        .output()
        .expect("Python");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // What could not be tried here is said even where the output of tests is captured.
    std::io::stderr().write_all(&output.stderr).expect("standard error");
}

#[test]
fn real_clients_and_a_real_server_get_on_through_sidestream() {
    drive("run.py");
}

#[test]
fn mcp_clients_resume_a_call_through_sidestream_as_they_do_without_it() {
    drive("resume.py");
}

#[test]
fn an_application_that_breaks_off_its_own_stream_is_noticed_on_every_server() {
    drive("own_streams.py");
}

#[test]
fn readers_of_an_unknown_stream_notice_that_it_broke_and_connect_again() {
    drive("reconnects.py");
}
