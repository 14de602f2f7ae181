//! Networks as they are: peers that vanish, addresses that do not work, names that cannot be looked up or that move. The drivers in
//! `tests/network/` make hosts of network namespaces, which takes root; elsewhere they say that they skipped it.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs a driver with short keys, which fails where sidestream is slower than its limits.
fn drive(driver: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "the HTTP/2 backend is missing: run `make test`, which installs it");
    let output = Command::new(python)
        .arg(root.join("tests/network").join(driver))
        .args(["--quick", "--binary", env!("CARGO_BIN_EXE_sidestream")])
        .output()
        .expect("Python");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // That it was skipped is said even where the output of tests is captured.
    std::io::stderr().write_all(&output.stderr).expect("standard error");
}

#[test]
fn peers_that_vanish_are_noticed_and_addresses_that_do_not_work_are_passed_over() {
    drive("run.py");
}

#[test]
fn names_that_fail_or_move_stop_no_request_and_hang_no_signal() {
    drive("dns.py");
}
