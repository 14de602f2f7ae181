//! When an HTTP/2 connection has written what its streams have queued.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::Poll;

use tokio::sync::Notify;

/// The turns of a connection's task: in each, h2 writes what the streams have queued before, as far as the socket takes it. Shared
/// with the streams themselves.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: AtomicU64,
    ended: AtomicU64,
    end: Notify,
}

impl Turns {
    /// Counts a turn of the task.
    pub fn count<T>(&self, turn: impl FnOnce() -> Poll<T>) -> Poll<T> {
        let number = self.0.begun.fetch_add(1, SeqCst) + 1;
        let result = turn();
        self.0.ended.store(number, SeqCst);
        self.0.end.notify_waiters();
        result
    }

    /// Waits until a turn that had not begun before this call has ended. Whoever has queued something is sure that there is one.
    pub async fn next(&self) {
        let before = self.0.begun.load(SeqCst);
        loop {
            let end = self.0.end.notified();
            tokio::pin!(end);
            end.as_mut().enable();
            if self.0.ended.load(SeqCst) > before {
                return;
            }
            end.await;
        }
    }
}
