//! Upgrades without refused connections. SIGUSR2 starts the program that is now installed at this one's path
//! and hands over the listening sockets. When the successor serves, it sends SIGQUIT to its predecessor,
//! which drains and ends.
//!
//! The sockets are passed as systemd passes them (sd_listen_fds(3)), so a process has one way to inherit
//! sockets.
//!
//! A short-lived launcher starts the successor. When the launcher has ended, the parent of the successor is
//! systemd, which supervises only its own children: it checks the parent once, on MAINPID=.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, getpgid, getpgrp, kill_process};

use super::server::Server;

/// The command of the launcher.
const LAUNCHER: &str = "successor";

/// The process id that a successor replaces.
const REPLACES: &str = "SIDESTREAM_REPLACES";

/// The first inherited descriptor (SD_LISTEN_FDS_START in sd_listen_fds(3)).
const FIRST: i32 = 3;

/// The sockets and the program for a successor.
pub struct Handover {
    sockets: Vec<OwnedFd>,
    program: Option<PathBuf>,
    successor: Mutex<Option<u32>>,
}

impl Handover {
    pub fn of(server: &Server) -> Arc<Self> {
        let sockets = server.sockets().filter_map(|socket| socket.duplicate().ok()).collect();
        Arc::new(Self { sockets, program: program(), successor: Mutex::default() })
    }

    /// The process id of the running successor.
    pub fn running(&self) -> Option<u32> {
        *self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a successor. If that fails, this process continues to serve.
    pub async fn start(self: &Arc<Self>) {
        if let Some(pid) = self.running() {
            tracing::warn!(pid, "SIGUSR2: a successor is starting already");
            return;
        }
        let handover = Arc::clone(self);
        // Waits for the launcher, which blocks. The caller waits too, so SIGQUIT finds the successor known, and
        // its parent is systemd by then.
        let launched = tokio::task::spawn_blocking(move || handover.launch()).await;
        match launched.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((pid, pipe)) => {
                tracing::info!(pid, "a successor is starting");
                self.set_running(Some(pid));
                self.watch(pipe);
            }
            Err(error) => {
                let program = self.program.as_deref().unwrap_or(Path::new("unknown")).display();
                tracing::error!(%program, %error, "the successor could not be started: this process continues to serve");
            }
        }
    }

    fn set_running(&self, successor: Option<u32>) {
        *self.successor.lock().unwrap_or_else(PoisonError::into_inner) = successor;
    }

    /// Runs the launcher. Returns the process id of the successor, and a pipe that ends with it.
    fn launch(&self) -> io::Result<(u32, BufReader<PipeReader>)> {
        let program = self.program.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let mut mappings = Vec::new();
        for (child_fd, socket) in (FIRST..).zip(&self.sockets) {
            mappings.push(FdMapping { parent_fd: socket.try_clone()?, child_fd });
        }
        let (reader, writer) = io::pipe()?;
        let mut launcher = Command::new(program)
            .arg(LAUNCHER)
            .args(std::env::args_os().skip(1))
            .env("LISTEN_FDS", self.sockets.len().to_string())
            // LISTEN_PID and WATCHDOG_PID name this process. Without them, the variables apply to any process
            // that reads them.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(writer)
            .fd_mappings(mappings)
            .map_err(io::Error::other)?
            .spawn()?;
        let (mut pipe, mut line) = (BufReader::new(reader), String::new());
        pipe.read_line(&mut line)?;
        let status = launcher.wait()?;
        let failed = |_| io::Error::other(format!("the launcher has ended: {status}"));
        Ok((line.trim().parse().map_err(failed)?, pipe))
    }

    /// Watches for the end of the successor while this process runs.
    fn watch(self: &Arc<Self>, mut pipe: BufReader<PipeReader>) {
        let handover = Arc::clone(self);
        // A separate thread, because a blocking task would delay the shutdown of the runtime.
        std::thread::spawn(move || {
            let ended = io::copy(&mut pipe, &mut io::sink());
            handover.set_running(None);
            match ended {
                Ok(_) => tracing::error!("the successor has ended"),
                Err(error) => tracing::error!(%error, "cannot wait for the successor"),
            }
        });
    }
}

/// The launcher: starts a successor with these arguments, and tells the predecessor its process id. Standard input
/// is a pipe to the predecessor. The successor keeps it open until it ends.
///
/// # Errors
///
/// The error of the program that does not start, or of the pipe.
pub fn start_successor(arguments: &[OsString]) -> io::Result<()> {
    let mut predecessor = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let program = program().ok_or(io::ErrorKind::NotFound)?;
    let successor = Command::new(program).args(arguments).env(REPLACES, parent_id().to_string()).spawn()?;
    writeln!(predecessor, "{}", successor.id())
}

/// Tells the process that this one replaces, if any, to drain and end.
pub fn take_over() {
    let replaces =
        std::env::var(REPLACES).ok().and_then(|pid| pid.parse::<i32>().ok()).and_then(Pid::from_raw);
    // The variable may be stale. A successor is in the process group of its predecessor.
    let is_ours = |pid: &Pid| getpgid(Some(*pid)).is_ok_and(|group| group == getpgrp());
    let Some(predecessor) = replaces.filter(is_ours) else { return };
    let pid = predecessor.as_raw_pid();
    match kill_process(predecessor, Signal::QUIT) {
        Ok(()) => tracing::info!(predecessor = pid, "taking over"),
        Err(error) => {
            tracing::warn!(predecessor = pid, %error, "cannot signal the predecessor that it is replaced");
        }
    }
}

/// The path by which the program was called. A newer version may be installed there later.
fn program() -> Option<PathBuf> {
    let called: OsString = std::env::args_os().next()?;
    let path = Path::new(&called);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok();
    }
    std::env::current_exe().ok()
}
