//! Lets streams wait until their HTTP/2 connection has written what they queued.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Counts the polls ("turns") of a connection's task. In each turn, h2 writes queued frames as far as the
/// socket accepts them. Shared by the connection and its streams.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: AtomicU64,
    ended: AtomicU64,
    end: Notify,
    /// The waker of the connection's task.
    waker: Mutex<Option<Waker>>,
}

impl Turns {
    /// Runs one turn of the task and counts it.
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

    /// Wakes the task, and waits for the end of a turn that begins after this call.
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
