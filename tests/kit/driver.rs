//! Runs the Python drivers of the tests.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs a driver in `tests/`, such as `clients/run.py`. It fails if an expectation of the driver fails.
pub fn drive(driver: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(
        python.exists(),
        "the Python environment of the drivers is missing: run `make test`, which installs it"
    );
    let output = Command::new(python)
        .arg(root.join("tests").join(driver))
        .args(arguments)
        .env("SIDESTREAM", env!("CARGO_BIN_EXE_sidestream"))
        .output()
        .expect("Python");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Skipped cases are reported even if the test output is captured.
    std::io::stderr().write_all(&output.stderr).expect("standard error");
}
