use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Runs a driver of `tests/`, such as `clients/run.py`, which fails where it does not see what it must.
pub fn drive(driver: &str, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "what the drivers need is missing: run `make test`, which installs it");
    let output = Command::new(python)
        .arg(root.join("tests").join(driver))
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
