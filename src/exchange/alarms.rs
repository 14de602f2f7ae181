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

pub struct Alarms {
    bell: Arc<Bell>,
    waker: Waker,
    /// Whether to poll the sources although none has fired.
    asks: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Wakes a task and records that it did.
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
    /// `shutdown` completes when all streams must end.
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

    /// State that an event needs; see `RunningRelay::touch`.
    #[inline]
    pub fn touch(&self) -> bool {
        self.bell.has_rung.load(Ordering::Relaxed)
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
        self.asks = true;
        if has_fired { self.set(at) } else { self.advance(at) }
    }

    fn set(&mut self, at: Instant) {
        self.deadline = at;
        self.timer.as_mut().reset(at);
        self.asks = true;
    }

    /// Whether any source may have fired. The caller then polls the client with [`Self::context`] and the
    /// others with [`Self::poll`]. `task` is the task that the sources wake.
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
        // Cleared before the sources are polled, so that a later event sets it again and no earlier one is
        // missed.
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        self.asks = false;
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
    pub fn is_set(&self) -> bool {
        self.asks
    }
}
