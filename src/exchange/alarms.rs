//! What wakes a relay besides its backend: its client, its timer, and the end of the process.
//!
//! Each event wakes its relay as well, and to ask all three whenever that happens would cost more than the event itself. So they
//! wake it through a waker of their own, which notes that one of them has something to say.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a timer is set to when nothing is due: no process lives that long, and no clock overflows.
pub const FAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// What has gone off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Timer,
    Shutdown,
}

pub struct Alarms {
    bell: Arc<Bell>,
    waker: Waker,
    /// They are to be asked, though none of them has rung.
    asks: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Wakes a task, and notes it.
struct Bell {
    has_rung: AtomicBool,
    task: Waker,
}

impl Bell {
    fn of(task: &Waker) -> Arc<Self> {
        Arc::new(Self { has_rung: AtomicBool::new(false), task: task.clone() })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Alarms {
    /// `shutdown`: ready when it is time to end.
    pub fn new(deadline: Instant, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        let bell = Bell::of(Waker::noop());
        Self {
            waker: bell.clone().into(),
            bell,
            asks: true,
            deadline,
            timer: Box::pin(sleep_until(deadline)),
            shutdown: Box::pin(shutdown),
        }
    }

    /// A little of what an event needs.
    #[inline]
    pub fn touch(&self) -> bool {
        self.bell.has_rung.load(Ordering::Relaxed)
    }

    /// Sets the timer if that makes it earlier: one that moved further away is found when it goes off, because to set it anew
    /// costs more than that.
    pub fn advance(&mut self, at: Instant) {
        if at < self.deadline {
            self.set(at);
        }
    }

    /// Sets the timer if it `has_fired`, or if that makes it earlier. Whatever has gone on meanwhile, all are asked once more.
    pub fn rearm(&mut self, at: Instant, has_fired: bool) {
        self.asks = true;
        if has_fired { self.set(at) } else { self.advance(at) }
    }

    fn set(&mut self, at: Instant) {
        self.deadline = at;
        self.timer.as_mut().reset(at);
        self.asks = true;
    }

    /// Whether any of them may have something to say: then the client is to be [asked](Self::context), and the [others](Self::poll).
    /// `task`: whom they wake.
    pub fn have_rung(&mut self, task: &Waker) -> bool {
        let is_quiet = !self.asks && !self.bell.has_rung.load(Ordering::Acquire);
        if is_quiet && self.bell.task.will_wake(task) {
            return false;
        }
        self.note(task);
        true
    }

    #[cold]
    fn note(&mut self, task: &Waker) {
        if !self.bell.task.will_wake(task) {
            self.bell = Bell::of(task);
            self.waker = self.bell.clone().into();
        }
        // Before they are asked, so that whatever comes later rings again, and whatever came before is seen.
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        self.asks = false;
    }

    /// What the client is to be asked with.
    pub fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Ready when the timer has fired, or when it is time to end. Unconstrained, since a task that has used up its turn would be told
    /// to come back.
    pub fn poll(&mut self) -> Poll<Alarm> {
        let mut cx = Context::from_waker(&self.waker);
        if pin!(unconstrained(self.timer.as_mut())).poll(&mut cx).is_ready() {
            return Poll::Ready(Alarm::Timer);
        }
        pin!(unconstrained(self.shutdown.as_mut())).poll(&mut cx).map(|()| Alarm::Shutdown)
    }

    /// Whether they are to be asked once more, because the timer was set.
    pub fn is_set(&self) -> bool {
        self.asks
    }
}
