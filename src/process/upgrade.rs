//! Upgrades without refused connections. SIGUSR2 starts the program that is now installed at this one's path
//! and hands over the listening sockets. When the successor serves, it sends SIGQUIT to its predecessor,
//! which drains and ends.
//!
//! The sockets are passed as systemd passes them (sd_listen_fds(3)), so a process has one way to inherit
//! sockets.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use super::server::Server;

/// The process id that a successor replaces.
const REPLACES: &str = "SIDESTREAM_REPLACES";

/// The first inherited descriptor (SD_LISTEN_FDS_START in sd_listen_fds(3)).
const FIRST: i32 = 3;

/// The sockets and the program for a successor.
pub struct Handover {
    sockets: Vec<OwnedFd>,
    program: Option<PathBuf>,
    successor: Arc<Mutex<Option<u32>>>,
}

impl Handover {
    pub fn of(server: &Server) -> Self {
        let sockets = server.sockets().filter_map(|socket| socket.duplicate().ok()).collect();
        Self { sockets, program: program(), successor: Arc::default() }
    }

    /// The process id of the running successor.
    pub fn running(&self) -> Option<u32> {
        *self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a successor. If that fails, this process continues to serve.
    pub fn start(&self) {
        if let Some(pid) = self.running() {
            tracing::warn!(pid, "SIGUSR2: a successor is starting already");
            return;
        }
        match self.spawn() {
            Ok(child) => {
                let pid = child.id();
                tracing::info!(pid, "a successor is starting");
                *self.successor.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
                self.wait_for(child);
            }
            Err(error) => {
                let program = self.program.as_deref().unwrap_or(Path::new("unknown")).display();
                tracing::error!(%program, %error, "the successor could not be started: this process continues to serve");
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let program = self.program.as_deref().ok_or(std::io::ErrorKind::NotFound)?;
        let mut mappings = Vec::new();
        for (child_fd, socket) in (FIRST..).zip(&self.sockets) {
            mappings.push(FdMapping { parent_fd: socket.try_clone()?, child_fd });
        }
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env(REPLACES, std::process::id().to_string())
            // LISTEN_PID and WATCHDOG_PID name this process. Without them, the variables apply to any process
            // that reads them.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .fd_mappings(mappings)
            .map_err(std::io::Error::other)?
            .spawn()
    }

    /// Watches for the end of the successor while this process runs.
    fn wait_for(&self, mut child: Child) {
        let successor = self.successor.clone();
        // A separate thread, because a blocking task would delay the shutdown of the runtime.
        std::thread::spawn(move || {
            let ended = child.wait();
            *successor.lock().unwrap_or_else(PoisonError::into_inner) = None;
            match ended {
                Ok(status) => tracing::error!(%status, "the successor has ended"),
                Err(error) => tracing::error!(%error, "cannot wait for the successor"),
            }
        });
    }
}

/// Tells the process that this one replaces, if any, to drain and end.
pub fn take_over() {
    let replaces = std::env::var(REPLACES).ok().and_then(|pid| pid.parse::<u32>().ok());
    // The variable may be stale. Only the parent process starts a successor.
    let Some(predecessor) = replaces.filter(|pid| *pid == parent_id()) else { return };
    let pid = i32::try_from(predecessor).ok().and_then(Pid::from_raw);
    match pid.map(|pid| kill_process(pid, Signal::QUIT)) {
        Some(Ok(())) => tracing::info!(predecessor, "taking over"),
        _ => tracing::warn!(predecessor, "cannot signal the predecessor that it is replaced"),
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
