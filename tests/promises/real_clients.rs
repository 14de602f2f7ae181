//! Real clients and a real server, with sidestream between them: `tests/clients/run.py` plays the parts.

use std::path::Path;
use std::process::Command;

#[test]
fn real_clients_and_a_real_server_get_on_through_sidestream() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "the clients are missing: run `make test`, which installs them");
    let output = Command::new(python)
        .arg(root.join("tests/clients/run.py"))
        .env("SIDESTREAM", env!("CARGO_BIN_EXE_sidestream"))
        .output()
        .expect("Python");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
