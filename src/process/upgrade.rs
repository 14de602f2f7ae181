//! An upgrade without a refused connection: SIGUSR2 starts the program that is at this one's path now, and hands it the
//! sockets. When the successor serves, it sends its predecessor SIGQUIT, which lets its streams run to their end.
//!
//! The sockets go over as systemd's do (sd_listen_fds(3)), so a successor has one way to get them.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};

use super::server::Server;

/// Names the process that a successor replaces.
const REPLACES: &str = "SIDESTREAM_REPLACES";

/// The first descriptor that is handed over (SD_LISTEN_FDS_START of sd_listen_fds(3)).
const FIRST: i32 = 3;

/// What a successor is started with.
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

    /// The process id of the successor, if one runs.
    pub fn running(&self) -> Option<u32> {
        *self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a successor. If it fails, this process goes on as if nothing had happened.
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
                tracing::error!(%program, %error, "the successor could not be started: this process goes on");
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
            // They name this process; without them they are meant for whoever reads them.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .fd_mappings(mappings)
            .map_err(std::io::Error::other)?
            .spawn()
    }

    /// Takes note of the successor's end, for as long as this process is there to see it.
    fn wait_for(&self, mut child: Child) {
        let successor = self.successor.clone();
        // A thread of its own: a blocking task of the runtime would hold up this process's own end.
        std::thread::spawn(move || {
            let ended = child.wait();
            *successor.lock().unwrap_or_else(PoisonError::into_inner) = None;
            match ended {
                Ok(status) => tracing::error!(%status, "the successor has ended"),
                Err(error) => tracing::error!(%error, "the successor is lost"),
            }
        });
    }
}

/// Tells the process that this one replaces, if there is one, that it may go.
pub fn take_over() {
    let replaces = std::env::var(REPLACES).ok().and_then(|pid| pid.parse::<u32>().ok());
    // The variable could be an old one: only a parent starts its successor.
    let Some(predecessor) = replaces.filter(|pid| *pid == parent_id()) else { return };
    let pid = i32::try_from(predecessor).ok().and_then(Pid::from_raw);
    match pid.map(|pid| kill_process(pid, Signal::QUIT)) {
        Some(Ok(())) => tracing::info!(predecessor, "taking over"),
        _ => tracing::warn!(predecessor, "the predecessor cannot be told that it is replaced"),
    }
}

/// Where the program is, as it was called: what is there later may be a newer one.
fn program() -> Option<PathBuf> {
    let called: OsString = std::env::args_os().next()?;
    let path = Path::new(&called);
    if path.components().count() > 1 {
        return std::path::absolute(path).ok();
    }
    std::env::current_exe().ok()
}
