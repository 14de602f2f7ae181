//! The signals that are heard, but SIGUSR1, which is the access log's.

use std::io;

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// The code with which a process ends that is told twice to stop.
const IMPATIENT: i32 = 1;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: start a successor.
    Upgrade,
    /// SIGQUIT: a successor serves.
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
    /// Hears them from now on.
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

    /// Ends the process at once when it is told to stop once more.
    pub fn end_at_the_second(mut self) {
        tokio::spawn(async move {
            loop {
                match self.next().await {
                    Signal::Stop => break,
                    other => tracing::warn!(signal = ?other, "ignored, because the process is stopping"),
                }
            }
            tracing::warn!("told to stop once more: ending at once");
            std::process::exit(IMPATIENT)
        });
    }
}
