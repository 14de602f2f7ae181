//! Limits how many requests fail over to another server. Sans-IO.

use std::time::{Duration, Instant};

/// Requests and attempts of this period are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// Attempts that every window allows, because a percentage of a few requests is less than one.
const LEAST: u64 = 3;

/// Requests and failover attempts of the last 5 to 10 s. The window consists of two halves; the older one is
/// dropped as a whole.
#[derive(Debug, Default)]
pub struct Budget {
    began: Option<Instant>,
    older: HalfWindow,
    newer: HalfWindow,
}

#[derive(Clone, Copy, Debug, Default)]
struct HalfWindow {
    requests: u64,
    attempts: u64,
}

impl Budget {
    pub fn note_request(&mut self, now: Instant) {
        self.turn(now);
        self.newer.requests += 1;
    }

    /// Takes one attempt from the budget, which is `percent` of all requests. Returns whether one was left.
    pub fn take(&mut self, percent: u32, now: Instant) -> bool {
        self.turn(now);
        let requests = self.older.requests + self.newer.requests;
        let attempts = self.older.attempts + self.newer.attempts;
        let allowed = (requests * u64::from(percent) / 100).max(if percent > 0 { LEAST } else { 0 });
        let is_left = attempts < allowed;
        self.newer.attempts += u64::from(is_left);
        is_left
    }

    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        if age < WINDOW / 2 {
            return;
        }
        self.older = if age < WINDOW { self.newer } else { HalfWindow::default() };
        (self.newer, self.began) = (HalfWindow::default(), Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_share_of_the_requests() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let takes = |budget: &mut Budget, now| (0..100).filter(|_| budget.take(20, now)).count();
        assert_eq!(takes(&mut budget, now), 3, "the minimum");
        (0..100).for_each(|_| budget.note_request(now));
        assert_eq!(takes(&mut budget, now), 17);
        let later = now + WINDOW / 2;
        (0..100).for_each(|_| budget.note_request(later));
        assert_eq!(takes(&mut budget, later), 20, "20 % of the requests in both halves, less those taken");
        let much_later = later + WINDOW;
        assert_eq!(takes(&mut budget, much_later), 3, "earlier windows do not count");
        assert!(!Budget::default().take(0, now));
    }
}
