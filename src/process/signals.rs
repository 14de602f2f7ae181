//! Signal handlers, except SIGUSR1, which belongs to the access log.

use std::io;

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// The exit code after a second SIGTERM or SIGINT.
const FORCED_EXIT: i32 = 1;

/// The action that a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGUSR2: start a successor.
    Upgrade,
    /// SIGQUIT: the successor serves.
    Replaced,
}

pub struct Signals {
    term: Source,
    int: Source,
    hup: Source,
    usr2: Source,
    quit: Source,
}

impl Signals {
    /// Installs the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr2: signal(SignalKind::user_defined2())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr2.recv() => Signal::Upgrade,
            _ = self.quit.recv() => Signal::Replaced,
        }
    }

    /// Ends the process immediately at the next SIGTERM or SIGINT.
    pub fn exit_on_second_stop(mut self) {
        tokio::spawn(async move {
            loop {
                match self.next().await {
                    Signal::Stop => break,
                    other => tracing::warn!(signal = ?other, "ignored, because the process is stopping"),
                }
            }
            tracing::warn!("received a second signal to stop: ending immediately");
            std::process::exit(FORCED_EXIT)
        });
    }
}
