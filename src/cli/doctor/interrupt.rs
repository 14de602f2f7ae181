//! The signals that end a probe early.

use std::future::pending;
use std::{io, process, thread};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Shells report 128 and the number of the signal that ended a program.
const BY_SIGNAL: u8 = 128;
const INT: u8 = 2;
const TERM: u8 = 15;

/// Ready at the first SIGINT or SIGTERM after this call, with the exit code that shells expect. The second signal ends the process at
/// once: a thread of its own waits for them, so that this works while standard output is blocked.
pub fn interrupted() -> impl Future<Output = u8> {
    let (first, told) = oneshot::channel();
    let watching = Interrupts::listen().and_then(|interrupts| interrupts.watch(first));
    async move {
        // Without handlers the signals keep their default: they end the process.
        match (watching, told.await) {
            (Ok(()), Ok(code)) => code,
            _ => pending().await,
        }
    }
}

struct Interrupts {
    int: Signal,
    term: Signal,
    runtime: Runtime,
}

impl Interrupts {
    /// Must not be called within a tokio runtime.
    fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (int, term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(entered);
        Ok(Self { int, term, runtime })
    }

    /// Starts the thread that reports the first signal, and ends the process at the second.
    fn watch(self, first: oneshot::Sender<u8>) -> io::Result<()> {
        let Self { mut int, mut term, runtime } = self;
        let mut next = async move || {
            tokio::select! {
                _ = int.recv() => BY_SIGNAL + INT,
                _ = term.recv() => BY_SIGNAL + TERM,
            }
        };
        let watch = async move {
            // Without a receiver the probe is over already.
            let _ = first.send(next().await);
            process::exit(next().await.into())
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch)).map(drop)
    }
}
