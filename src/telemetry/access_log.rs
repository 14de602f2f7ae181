//! The access log: one line of JSON per request, written when it ends.
//!
//! A separate thread writes the lines, which it receives over a bounded queue. A full disk or a slow pipe
//! drops lines, which are counted. It never blocks a relay.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use prometheus::IntCounter;

use crate::config::AccessLogPolicy;

/// The maximum number of queued lines.
const QUEUE: usize = 4096;
/// The maximum number of bytes per write, if that many are queued.
const BATCH: usize = 64 * 1024;
/// How long the process waits at its end for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Accepts lines from any thread. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    /// `None` if the log is off.
    queue: Option<SyncSender<LogMessage>>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
}

enum LogMessage {
    Line(String),
    /// Wakes the thread to check its flags.
    Wake,
}

/// The handle of the writing thread, to wait for its end.
pub struct Writer(Option<Running>);

struct Running {
    queue: SyncSender<LogMessage>,
    ending: Arc<AtomicBool>,
    done: Receiver<()>,
}

impl AccessLog {
    /// Opens the log and starts the thread. `dropped` counts lost lines.
    pub fn open(policy: &AccessLogPolicy, dropped: IntCounter) -> io::Result<(Self, Writer)> {
        let reopen = Arc::new(AtomicBool::new(false));
        let target = match policy {
            AccessLogPolicy::Off => {
                return Ok((Self { queue: None, reopen, dropped }, Writer(None)));
            }
            AccessLogPolicy::Stdout => Target::stdout()?,
            AccessLogPolicy::File(path) => Target::append_to(path)?,
        };
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let (finish, done) = mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let running = Running { queue: queue.clone(), ending: ending.clone(), done };
        let worker = Worker { target, lines, reopen: reopen.clone(), ending, dropped: dropped.clone() };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            worker.run();
            // The receiver is gone if the process did not wait.
            let _ = finish.send(());
        })?;
        Ok((Self { queue: Some(queue), reopen, dropped }, Writer(Some(running))))
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line without its line end. Drops it if the queue is full.
    pub fn write(&self, line: String) {
        if let Some(queue) = &self.queue
            && queue.try_send(LogMessage::Line(line)).is_err()
        {
            self.dropped.inc();
        }
    }

    /// Reopens the file, after it was rotated.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // A full queue wakes the thread anyway.
            let _ = queue.try_send(LogMessage::Wake);
        }
    }
}

impl Writer {
    /// Waits up to 2 s until the queue is written. Later lines are lost.
    pub fn finish(self) {
        let Some(Running { queue, ending, done }) = self.0 else { return };
        ending.store(true, Ordering::Relaxed);
        // A full queue wakes the thread anyway.
        let _ = queue.try_send(LogMessage::Wake);
        if done.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log were not written in time and are lost");
        }
    }
}

/// The output of the log. It is unbuffered, because after an error the number of bytes written must be known.
struct Target {
    file: File,
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// The last write ended in the middle of a line.
    is_torn: bool,
}

impl Target {
    fn stdout() -> io::Result<Self> {
        let file = io::stdout().as_fd().try_clone_to_owned()?.into();
        Ok(Self { file, path: None, is_torn: false })
    }

    fn append_to(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        // An earlier process may have been stopped by a full disk, too.
        let is_torn = last_byte(&file, path).is_some_and(|byte| byte != b'\n');
        Ok(Self { file, path: Some(path.to_owned()), is_torn })
    }

    /// Writes whole lines. After an error, `lines` holds the rest.
    fn write(&mut self, lines: &mut &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write_some(b"\n")?;
        }
        while !lines.is_empty() {
            let written = self.write_some(lines)?;
            *lines = &lines[written..];
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.is_torn = bytes[written - 1] != b'\n';
                    return Ok(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The last byte of a regular file, if it can be read. `None` for pipes.
fn last_byte(file: &File, path: &Path) -> Option<u8> {
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    let mut byte = [0];
    File::open(path).ok()?.read_exact_at(&mut byte, metadata.len().checked_sub(1)?).ok()?;
    Some(byte[0])
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
            let batch = self.batch(message);
            if self.reopen.swap(false, Ordering::Relaxed) {
                self.open_again();
            }
            let mut lines = &batch[..];
            match self.target.write(&mut lines) {
                Ok(()) => failing = false,
                Err(error) => {
                    let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                    self.dropped.inc_by(lost as u64);
                    // Logged once, not for every line while the disk stays full.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "cannot write the access log: lines are lost until writes succeed again");
                    }
                }
            }
            let is_ending = self.ending.load(Ordering::Relaxed);
            next = if is_ending { self.lines.try_recv().ok() } else { self.lines.recv().ok() };
        }
    }

    /// Collects the queued lines, up to [`BATCH`].
    fn batch(&self, first: LogMessage) -> Vec<u8> {
        let (mut batch, mut next) = (Vec::new(), Some(first));
        while let Some(message) = next {
            if let LogMessage::Line(line) = message {
                batch.extend_from_slice(line.as_bytes());
                batch.push(b'\n');
            }
            next = if batch.len() < BATCH { self.lines.try_recv().ok() } else { None };
        }
        batch
    }

    fn open_again(&mut self) {
        let Some(path) = &self.target.path else { return };
        match Target::append_to(path) {
            Ok(new) => self.target = new,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot reopen the access log: the old file stays in use");
            }
        }
    }
}
