//! What wakes a relay besides its backend: its client, its timer and the end of the process.
//!
//! Each event of the stream wakes the relay too, and polling these three sources each time would cost more
//! than the event itself. So they use a separate waker that records that one of them has fired.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer setting when nothing is due. It outlasts any process and does not overflow the clock.
pub const FAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// The source that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Timer,
    Shutdown,
}

/// The timer and the shutdown signal of a relay, and the waker for its client.
pub struct Alarms {
    flag: Arc<WakeFlag>,
    waker: Waker,
    /// Whether to poll the sources although none has fired.
    must_poll: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Wakes a task and records that it did.
struct WakeFlag {
    was_woken: AtomicBool,
    task: Waker,
}

impl WakeFlag {
    fn of(task: &Waker) -> Arc<Self> {
        Arc::new(Self { was_woken: AtomicBool::new(false), task: task.clone() })
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Alarms {
    /// `shutdown` completes when all streams must end.
    pub fn new(deadline: Instant, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        let flag = WakeFlag::of(Waker::noop());
        Self {
            waker: flag.clone().into(),
            flag,
            must_poll: true,
            deadline,
            timer: Box::pin(sleep_until(deadline)),
            shutdown: Box::pin(shutdown),
        }
    }

    /// State that an event needs; see `RunningRelay::touch`.
    #[inline]
    pub fn touch(&self) -> bool {
        self.flag.was_woken.load(Ordering::Relaxed)
    }

    /// Sets the timer if `at` is earlier than its deadline. A later `at` is handled when the timer fires,
    /// because resetting it costs more than an early wake-up.
    pub fn advance(&mut self, at: Instant) {
        if at < self.deadline {
            self.set(at);
        }
    }

    /// Sets the timer if it has fired or `at` is earlier. In any case, all sources are polled once more.
    pub fn rearm(&mut self, at: Instant, has_fired: bool) {
        self.must_poll = true;
        if has_fired { self.set(at) } else { self.advance(at) }
    }

    fn set(&mut self, at: Instant) {
        self.deadline = at;
        self.timer.as_mut().reset(at);
        self.must_poll = true;
    }

    /// Whether any source may have fired. The caller then polls the client with [`Self::context`] and the
    /// others with [`Self::poll`]. `task` is the task that the sources wake.
    pub fn may_have_fired(&mut self, task: &Waker) -> bool {
        let is_quiet = !self.must_poll && !self.flag.was_woken.load(Ordering::Acquire);
        if is_quiet && self.flag.task.will_wake(task) {
            return false;
        }
        self.note(task);
        true
    }

    #[cold]
    fn note(&mut self, task: &Waker) {
        if !self.flag.task.will_wake(task) {
            self.flag = WakeFlag::of(task);
            self.waker = self.flag.clone().into();
        }
        // Cleared before the sources are polled, so that a later event sets it again and no earlier one is
        // missed.
        self.flag.was_woken.swap(false, Ordering::AcqRel);
        self.must_poll = false;
    }

    /// The context for polling the client.
    pub fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Ready when the timer has fired or all streams must end. Unconstrained, because tokio's cooperative
    /// budget would otherwise delay a ready timer.
    pub fn poll(&mut self) -> Poll<Alarm> {
        let mut cx = Context::from_waker(&self.waker);
        if pin!(unconstrained(self.timer.as_mut())).poll(&mut cx).is_ready() {
            return Poll::Ready(Alarm::Timer);
        }
        pin!(unconstrained(self.shutdown.as_mut())).poll(&mut cx).map(|()| Alarm::Shutdown)
    }

    /// Whether the sources must be polled once more, because the timer was set.
    pub fn must_poll(&self) -> bool {
        self.must_poll
    }
}
