//! `sidestream doctor` as a process, at both ends of a chain.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The token of every [`ProbeOrigin`].
pub const PROBE_TOKEN: &str = "0123456789abcdef-token";

/// A probe origin on a free port.
pub struct ProbeOrigin {
    process: Child,
    pub address: SocketAddr,
}

impl ProbeOrigin {
    pub fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sidestream"))
            .args(["doctor", "--serve", "127.0.0.1:0", "--token", PROBE_TOKEN])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().trim_end_matches('.').rsplit(' ').next().expect("an address");
        Self { process, address: address.parse().expect("an address") }
    }
}

impl Drop for ProbeOrigin {
    fn drop(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("an end");
    }
}

/// Runs the doctor to its end.
pub fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command
        .arg("doctor")
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary")
}

/// Probes the origin directly as `inner`, and through a hop as `outer`. Returns the exit code, and the object that `--json` prints.
pub fn probed(origin: &ProbeOrigin, hop: SocketAddr, more: &[&str]) -> (Option<i32>, Value) {
    let points = [format!("inner=http://{}/", origin.address), format!("outer=http://{hop}/v1/x?y=z")];
    let output = doctor(&[&["--json", "--token", PROBE_TOKEN, &points[0], &points[1]], more].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The findings of a report: id, severity, and the points between which the hop is.
pub fn found(report: &Value) -> Vec<[&str; 4]> {
    let findings = report["findings"].as_array().expect("findings");
    let parts = |finding| {
        let finding: &Value = finding;
        [&finding["id"], &finding["severity"], &finding["between"][0], &finding["between"][1]]
            .map(|part| part.as_str().expect("a text"))
    };
    findings.iter().map(parts).collect()
}
