//! The access log: one line of JSON for each request, when it has ended.
//!
//! Lines go to a thread of their own over a bounded queue. A full disk or a slow pipe costs lines, which are counted, and never
//! makes a relay wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use prometheus::IntCounter;

use crate::config::AccessLogPolicy;

/// Lines that wait at most.
const QUEUE: usize = 4096;
/// Bytes that are written at once, if that many wait.
const BATCH: usize = 64 * 1024;
/// How long the process waits at its end for the last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Takes lines from anywhere. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    /// `None`: nothing is logged.
    queue: Option<SyncSender<LogMessage>>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
}

enum LogMessage {
    Line(String),
    /// Something else is to be looked at.
    Wake,
}

/// The thread that writes; to be waited for when no more lines come.
pub struct Writer(Option<Running>);

struct Running {
    queue: SyncSender<LogMessage>,
    ending: Arc<AtomicBool>,
    done: Receiver<()>,
}

impl AccessLog {
    /// Opens the log and starts its thread. `dropped` counts the lines that are lost.
    pub fn open(policy: &AccessLogPolicy, dropped: IntCounter) -> io::Result<(Self, Writer)> {
        let reopen = Arc::new(AtomicBool::new(false));
        let target = match policy {
            AccessLogPolicy::Off => {
                return Ok((Self { queue: None, reopen, dropped }, Writer(None)));
            }
            AccessLogPolicy::Stdout => Target::Stdout,
            AccessLogPolicy::File(path) => Target::File { path: path.clone(), file: append_to(path)? },
        };
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let (finish, done) = mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let running = Running { queue: queue.clone(), ending: ending.clone(), done };
        let worker = Worker { target, lines, reopen: reopen.clone(), ending, dropped: dropped.clone() };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            worker.run();
            // Nobody waits any more if the process is in a hurry.
            let _ = finish.send(());
        })?;
        Ok((Self { queue: Some(queue), reopen, dropped }, Writer(Some(running))))
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Writes a line, which needs no line end; drops it if too many wait.
    pub fn write(&self, line: String) {
        if let Some(queue) = &self.queue
            && queue.try_send(LogMessage::Line(line)).is_err()
        {
            self.dropped.inc();
        }
    }

    /// Opens the file again, for who has moved it away.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // A full queue has something to look at already.
            let _ = queue.try_send(LogMessage::Wake);
        }
    }
}

impl Writer {
    /// Waits until what is queued is written, for a moment. Lines that come later are lost.
    pub fn finish(self) {
        let Some(Running { queue, ending, done }) = self.0 else { return };
        ending.store(true, Ordering::Relaxed);
        // A full queue has something to look at already.
        let _ = queue.try_send(LogMessage::Wake);
        if done.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log were not taken in time");
        }
    }
}

enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { file, .. } => file.write_all(lines),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct Worker {
    target: Target,
    lines: Receiver<LogMessage>,
    reopen: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
    dropped: IntCounter,
}

impl Worker {
    fn run(mut self) {
        let mut failing = false;
        let mut next = self.lines.recv().ok();
        while let Some(message) = next {
            let (batch, count) = self.batch(message);
            if self.reopen.swap(false, Ordering::Relaxed) {
                self.open_again();
            }
            match self.target.write(&batch) {
                Ok(()) => failing = false,
                Err(error) => {
                    self.dropped.inc_by(count);
                    // Once, and not for every line of a disk that stays full.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "cannot write the access log: lines are lost until that is mended");
                    }
                }
            }
            let is_ending = self.ending.load(Ordering::Relaxed);
            next = if is_ending { self.lines.try_recv().ok() } else { self.lines.recv().ok() };
        }
    }

    /// All lines that wait, up to a batch, and how many they are.
    fn batch(&self, first: LogMessage) -> (Vec<u8>, u64) {
        let (mut batch, mut count, mut next) = (Vec::new(), 0, Some(first));
        while let Some(message) = next {
            if let LogMessage::Line(line) = message {
                batch.extend_from_slice(line.as_bytes());
                batch.push(b'\n');
                count += 1;
            }
            next = if batch.len() < BATCH { self.lines.try_recv().ok() } else { None };
        }
        (batch, count)
    }

    fn open_again(&mut self) {
        if let Target::File { path, file } = &mut self.target {
            match append_to(path) {
                Ok(new) => *file = new,
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "cannot open the access log again: going on with the old one");
                }
            }
        }
    }
}
