//! A process under measurement, with its CPU time and memory as reported by the kernel.

use std::fmt::Write;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// A process and its children. Killed on drop.
pub struct Process(Child);

impl Process {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("a process"))
    }

    /// The CPU time of all threads so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        let nanoseconds: u64 = self
            .pids()
            .iter()
            .flat_map(|&pid| threads(pid))
            .map(|file| {
                let text = fs::read_to_string(file).unwrap_or_default();
                text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
            })
            .sum();
        Duration::from_nanos(nanoseconds)
    }

    /// The resident memory of all processes in bytes. Shared pages count by share (PSS).
    pub fn memory(&self) -> u64 {
        let kib = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).expect("a size")
        };
        self.pids().iter().map(kib).sum::<u64>() * 1024
    }

    fn pids(&self) -> Vec<u32> {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid).chain(children.split_whitespace().filter_map(|c| c.parse().ok())).collect()
    }

    /// Sends SIGTERM.
    #[allow(dead_code, reason = "some benches always kill their processes")]
    pub fn terminate(&self) {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("a signal");
    }

    /// Waits until the process has exited.
    #[allow(dead_code, reason = "some benches always kill their processes")]
    pub fn wait(&mut self) {
        self.0.wait().expect("a process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let mut pids = String::new();
        for pid in self.pids() {
            let _ = write!(pids, "{pid} ");
        }
        let _ = Command::new("kill").arg("-KILL").args(pids.split_whitespace()).status();
        let _ = self.0.wait();
    }
}

/// Files whose first number is the CPU time of a thread in ns.
fn threads(pid: u32) -> Vec<std::path::PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path().join("schedstat")).collect()
}
