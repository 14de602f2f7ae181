//! The signals that end a probe before it is done.

use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};

/// Shells add it to the number of the signal that has ended a program.
const BY_SIGNAL: u8 = 128;
const INT: u8 = 2;
const TERM: u8 = 15;

/// Ready at SIGINT or SIGTERM, which are heard from this call on, with the exit code that shells expect then. Must be called within a
/// tokio runtime.
pub fn interrupted() -> impl Future<Output = u8> {
    let heard = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        // Without handlers the signals keep their default: they end the process.
        let (Ok(mut int), Ok(mut term)) = heard else { return pending().await };
        tokio::select! {
            _ = int.recv() => BY_SIGNAL + INT,
            _ = term.recv() => BY_SIGNAL + TERM,
        }
    }
}
