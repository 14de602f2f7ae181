//! Real clients and real servers, with sidestream between them: the drivers in `tests/clients/` play the parts.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs a driver in full.
fn drive(driver: &str) {
    drive_with(driver, &[]);
}

/// Runs the part of a driver that is for every run of the tests.
fn drive_quickly(driver: &str) {
    drive_with(driver, &["--quick"]);
}

/// Runs a driver, which fails where it does not see what it must.
fn drive_with(driver: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "the clients are missing: run `make test`, which installs them");
    let output = Command::new(python)
        .arg(root.join("tests/clients").join(driver))
        .args(arguments)
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

#[test]
fn a_page_goes_on_with_its_events_after_the_backend_restarted() {
    drive_quickly("restarts.py");
}

#[test]
fn posts_that_come_when_the_backend_closes_idle_connections_are_answered() {
    drive_quickly("edges.py");
}

#[test]
fn calls_of_grpc_pass_with_their_metadata_errors_and_ends() {
    drive_quickly("grpc_calls.py");
}

#[test]
fn calls_of_grpc_that_fail_or_are_refused_are_told_so_in_its_own_form() {
    drive_quickly("grpc_failures.py");
}

#[test]
fn trailers_pass_to_clients_that_ask_for_them() {
    drive_quickly("trailers.py");
}

#[test]
fn a_name_whose_first_address_refuses_connections_is_reached_at_its_second() {
    drive_quickly("hosts.py");
}
