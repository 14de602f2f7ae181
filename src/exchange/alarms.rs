//! What wakes a relay besides its two connections: its timer, and the end of the process.
//!
//! Both are asked only when something can have come of it: each event wakes its relay, and asking would cost it 300
//! instructions. The relay is woken by both all the same, because they are told whom to wake before that: unconstrained, since a
//! task that has used up its turn would be told to come back, and neither would know of it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

use super::shutdown::Shutdown;

/// What a timer is set to when nothing is due: no process lives that long, and no clock overflows.
pub const FAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// What has gone off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    Timer,
    Shutdown,
}

/// `W` is what [`Shutdown::wait`] returns.
pub struct Alarms<'a, W> {
    timer: Pin<&'a mut Sleep>,
    /// It knows whom to wake.
    is_timer_set: bool,
    shutdown: &'a Shutdown,
    end: Pin<&'a mut W>,
    /// Likewise.
    is_end_awaited: bool,
}

impl<'a, W: Future<Output = ()>> Alarms<'a, W> {
    pub fn new(timer: Pin<&'a mut Sleep>, shutdown: &'a Shutdown, end: Pin<&'a mut W>) -> Self {
        Self { timer, is_timer_set: false, shutdown, end, is_end_awaited: false }
    }

    /// Sets the timer.
    fn set(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.is_timer_set = false;
    }

    /// Sets the timer if that makes it earlier: one that moved further away is found when it goes off, because to set it anew
    /// costs more than that.
    pub fn advance(&mut self, at: Instant) {
        if at < self.timer.deadline() {
            self.set(at);
        }
    }

    /// Sets the timer if it `has_fired`, or if that makes it earlier.
    pub fn rearm(&mut self, at: Instant, has_fired: bool) {
        if has_fired { self.set(at) } else { self.advance(at) }
    }

    /// `now`: the time, if it is known.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Option<Instant>) -> Poll<Alarm> {
        let is_early = now.is_some_and(|now| now < self.timer.deadline());
        if !(is_early && self.is_timer_set) {
            if pin!(unconstrained(self.timer.as_mut())).poll(cx).is_ready() {
                self.is_timer_set = false;
                return Poll::Ready(Alarm::Timer);
            }
            self.is_timer_set = true;
        }
        if !self.is_end_awaited || self.shutdown.may_have_come() {
            self.is_end_awaited = true;
            return pin!(unconstrained(self.end.as_mut())).poll(cx).map(|()| Alarm::Shutdown);
        }
        Poll::Pending
    }
}
