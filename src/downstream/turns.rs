//! When an HTTP/2 connection has written what its streams have queued.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

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
    /// Of the connection's task.
    waker: Mutex<Option<Waker>>,
}

impl Turns {
    /// Counts a turn of the task.
    pub fn count<T>(&self, cx: &mut Context<'_>, turn: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let number = self.0.begun.fetch_add(1, SeqCst) + 1;
        {
            let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        let result = turn(cx);
        self.0.ended.store(number, SeqCst);
        self.0.end.notify_waiters();
        result
    }

    /// Waits for the end of a turn that had not begun before this call, and asks for one.
    pub async fn next(&self) {
        let before = self.0.begun.load(SeqCst);
        if let Some(waker) = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            waker.wake_by_ref();
        }
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
