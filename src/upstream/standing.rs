//! The state of one server: its streams, and whether it gets requests. Sans-IO: the time is a parameter.

use std::time::{Duration, Instant};

use crate::config::OutlierPolicy;

/// The time after which a trial counts as inconclusive, and another request may be the next trial.
const TRIAL: Duration = Duration::from_secs(10);

/// The minimum share of its weight that a server has during `slow_start`.
const LEAST_SHARE: f64 = 0.1;

/// Why a server gets no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutReason {
    /// Probes failed.
    Unhealthy,
    /// Requests failed (outlier detection).
    Ejected,
    /// It asked for a pause (429, 503).
    CoolingDown,
}

impl OutReason {
    /// The value in `/streams`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::CoolingDown => "cooling_down",
        }
    }
}

#[derive(Debug, Default)]
pub struct Standing {
    /// The number of streams on the server.
    pub slots: u32,
    is_down: bool,
    failed_probes: u32,
    passed_probes: u32,
    /// Consecutive failures.
    failures: u32,
    ejection: Option<Ejection>,
    /// Consecutive ejections.
    ejections: u32,
    /// The end of the cooldown.
    cooldown: Option<Instant>,
    /// Until this time a further cooldown is not reported, even if a success ended the last one.
    told_cooldown: Option<Instant>,
    /// When the server joined or was readmitted.
    returned: Option<Instant>,
}

#[derive(Debug)]
struct Ejection {
    until: Instant,
    /// The start of the running trial.
    trial: Option<Instant>,
    /// The trial began after `until`, and not early because no other server was up.
    is_due: bool,
    /// Passing probes may end the ejection early.
    trusts_probes: bool,
}

impl Ejection {
    /// Applies a streak of probes that reached its threshold. Passing probes bring the trial forward once. If
    /// that trial fails, probes do not detect the fault, and they are ignored until they fail too.
    fn heed_probes(&mut self, is_ok: bool, now: Instant) {
        if !is_ok {
            self.trusts_probes = true;
        } else if std::mem::take(&mut self.trusts_probes) {
            self.until = self.until.min(now);
        }
    }
}

impl Standing {
    /// A server that joins a group that already serves. It starts with `slow_start`.
    pub fn joining(now: Instant) -> Self {
        Self { returned: Some(now), ..Self::default() }
    }

    /// Why the server gets no requests now, and until when, if known. With several reasons, the latest end
    /// counts.
    pub fn out(&self, now: Instant) -> Option<(OutReason, Option<Instant>)> {
        if self.is_down {
            return Some((OutReason::Unhealthy, None));
        }
        let cooldown = self.cooldown.filter(|until| now < *until);
        if let Some(ejection) = &self.ejection {
            return Some((OutReason::Ejected, cooldown.max(Some(ejection.until))));
        }
        Some((OutReason::CoolingDown, Some(cooldown?)))
    }

    pub fn is_up(&self, now: Instant) -> bool {
        self.out(now).is_none()
    }

    pub fn is_ejected(&self) -> bool {
        self.ejection.is_some()
    }

    /// Whether the server is ejected or down.
    pub fn is_taken_out(&self) -> bool {
        self.is_down || self.is_ejected()
    }

    /// Whether a request may be the trial now.
    pub fn awaits_trial(&self, now: Instant) -> bool {
        let is_due = matches!(self.out(now), Some((OutReason::Ejected, Some(until))) if until <= now);
        let trial = self.ejection.as_ref().and_then(|ejection| ejection.trial);
        // A trial that takes longer than this is inconclusive, and may never end.
        is_due && trial.is_none_or(|since| since + TRIAL <= now)
    }

    pub fn is_on_trial(&self) -> bool {
        self.ejection.as_ref().is_some_and(|ejection| ejection.trial.is_some())
    }

    pub fn begin_trial(&mut self, now: Instant) {
        if let Some(ejection) = &mut self.ejection {
            (ejection.trial, ejection.is_due) = (Some(now), ejection.until <= now);
        }
    }

    /// Ends the trial, whatever its result. If it was inconclusive, the next trial starts after `pause`, to
    /// expose as few clients as possible to the server.
    pub fn end_trial(&mut self, pause: Duration, now: Instant) {
        if let Some(ejection) = &mut self.ejection {
            ejection.trial = None;
            ejection.until = ejection.until.max(now + pause);
        }
    }

    /// Records a good answer. `is_trial`: the answer of the trial. Returns whether the server was readmitted.
    pub fn succeed(&mut self, is_trial: bool, now: impl FnOnce() -> Instant) -> bool {
        self.cooldown = None;
        if self.ejection.is_some() && !is_trial {
            // The request was sent before the ejection, so its answer does not show the current state.
            return false;
        }
        self.failures = 0;
        let is_back = self.ejection.take().is_some();
        if is_back {
            self.returned = Some(now());
        }
        is_back
    }

    /// Records a failure. `may_eject`: other servers can take the requests. Returns whether the server is
    /// ejected by this failure.
    pub fn fail(&mut self, policy: &OutlierPolicy, may_eject: bool, is_trial: bool, now: Instant) -> bool {
        if let Some(ejection) = &self.ejection {
            // If no other server is up, trials begin early. Their failures are not reported again.
            let is_news = is_trial && ejection.is_due;
            if is_news {
                self.eject(policy, now);
            }
            return is_news;
        }
        self.failures = self.failures.saturating_add(1);
        let is_too_many = self.failures >= policy.consecutive_failures.get();
        if is_too_many && may_eject {
            self.eject(policy, now);
            return true;
        }
        false
    }

    fn eject(&mut self, policy: &OutlierPolicy, now: Instant) {
        // The backoff resets after a long time without an ejection.
        if self.ejection.is_none()
            && self.returned.is_none_or(|returned| now - returned >= policy.max_ejection_time)
        {
            self.ejections = 0;
        }
        let doubled = policy.base_ejection_time.saturating_mul(1 << self.ejections.min(20));
        self.ejections += 1;
        (self.failures, self.passed_probes) = (0, 0);
        let until = now + doubled.min(policy.max_ejection_time);
        let trusts_probes = self.ejection.as_ref().is_none_or(|ejection| ejection.trusts_probes);
        self.ejection = Some(Ejection { until, trial: None, is_due: false, trusts_probes });
    }

    /// Starts or extends a cooldown. Returns whether to report it, which is once per cooldown and pause.
    pub fn cool_down(&mut self, pause: Duration, now: Instant) -> bool {
        let is_over = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        let is_news = is_over(self.cooldown) && is_over(self.told_cooldown);
        self.cooldown = Some(now + pause);
        if is_news {
            self.told_cooldown = self.cooldown;
        }
        is_news
    }

    /// Applies the result of a probe. Returns whether the server went down or came up.
    pub fn probed(&mut self, is_ok: bool, fails: u32, passes: u32, now: Instant) -> bool {
        let counted = if is_ok { &mut self.passed_probes } else { &mut self.failed_probes };
        *counted = counted.saturating_add(1);
        let limit = if is_ok { passes } else { fails };
        let is_enough = *counted >= limit;
        *(if is_ok { &mut self.failed_probes } else { &mut self.passed_probes }) = 0;
        if !is_enough {
            return false;
        }
        if let Some(ejection) = &mut self.ejection {
            ejection.heed_probes(is_ok, now);
        }
        if self.is_down != is_ok {
            return false;
        }
        self.is_down = !is_ok;
        if is_ok {
            self.returned = Some(now);
        }
        true
    }

    /// Called when health checks are switched off.
    pub fn forget_probes(&mut self) {
        (self.is_down, self.failed_probes, self.passed_probes) = (false, 0, 0);
    }

    /// Called when outlier detection is switched off.
    pub fn forget_ejection(&mut self) {
        (self.ejection, self.failures, self.ejections) = (None, 0, 0);
    }

    /// The share of its weight that the server has now.
    pub fn share(&self, slow_start: Option<Duration>, now: Instant) -> f64 {
        match (slow_start, self.returned) {
            (Some(slow_start), Some(returned)) if now < returned + slow_start => {
                let since = now.saturating_duration_since(returned).as_secs_f64();
                (since / slow_start.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
            }
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> OutlierPolicy {
        OutlierPolicy::default()
    }

    fn failed(standing: &mut Standing, times: u32, now: Instant) -> bool {
        (0..times).any(|_| standing.fail(&policy(), true, false, now))
    }

    #[test]
    fn consecutive_failures_eject_and_a_success_resets_them() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert!(!failed(&mut standing, 2, now));
        standing.succeed(false, || now);
        assert!(!failed(&mut standing, 2, now));
        assert!(failed(&mut standing, 1, now));
        assert_eq!(standing.out(now), Some((OutReason::Ejected, Some(now + policy().base_ejection_time))));
    }

    #[test]
    fn a_server_that_may_not_be_ejected_stays_up() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        for _ in 0..10 {
            assert!(!standing.fail(&policy(), false, false, now));
        }
        assert!(standing.is_up(now));
        assert!(failed(&mut standing, 1, now), "ejected by the next failure once allowed");
    }

    #[test]
    fn a_trial_readmits_an_ejected_server() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        assert!(!standing.awaits_trial(now));
        let later = now + policy().base_ejection_time;
        assert!(standing.awaits_trial(later));
        standing.begin_trial(later);
        assert!(!standing.awaits_trial(later), "only one trial at a time");
        assert!(!standing.succeed(false, || later), "an answer to an earlier request does not readmit");
        standing.end_trial(Duration::from_secs(10), later);
        assert!(!standing.awaits_trial(later), "the next trial waits for the pause");
        let (later, at_last) = (later + Duration::from_secs(10), later + Duration::from_secs(20));
        assert!(standing.awaits_trial(later), "a trial is possible after the pause");
        standing.begin_trial(later);
        assert!(standing.awaits_trial(at_last), "a trial that never ends must not block the next one");
        assert!(standing.succeed(true, || later));
        assert!(standing.is_up(later));
    }

    #[test]
    fn the_ejection_time_doubles_up_to_its_limit_and_resets() {
        let (mut standing, mut now, policy) = (Standing::default(), Instant::now(), policy());
        failed(&mut standing, 3, now);
        let mut times = Vec::new();
        for _ in 0..7 {
            let Some((_, Some(until))) = standing.out(now) else { panic!("the server must be ejected") };
            times.push((until - now).as_secs());
            now = until;
            standing.begin_trial(now);
            assert!(standing.fail(&policy, true, true, now));
        }
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        standing.begin_trial(now);
        assert!(standing.succeed(true, || now));
        now += policy.max_ejection_time;
        failed(&mut standing, 3, now);
        assert_eq!(standing.out(now), Some((OutReason::Ejected, Some(now + policy.base_ejection_time))));
    }

    #[test]
    fn failures_of_early_trials_do_not_extend_the_ejection() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        let out = standing.out(now);
        for _ in 0..5 {
            standing.begin_trial(now);
            assert!(!standing.fail(&policy(), true, true, now));
        }
        assert_eq!(standing.out(now), out);
    }

    #[test]
    fn a_trial_that_asks_for_a_pause_delays_the_next_one() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        let (later, pause) = (now + policy().base_ejection_time, Duration::from_secs(30));
        standing.begin_trial(later);
        standing.cool_down(pause, later);
        standing.end_trial(Duration::ZERO, later);
        assert_eq!(
            standing.out(later),
            Some((OutReason::Ejected, Some(later + pause))),
            "the cooldown ends after the ejection"
        );
        assert!(
            !standing.awaits_trial(later + Duration::from_secs(29)) && standing.awaits_trial(later + pause)
        );
    }

    #[test]
    fn consecutive_probes_take_a_server_down_and_bring_it_up() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut probe = |is_ok| standing.probed(is_ok, 3, 2, now);
        let results = [false, false, true, false, false].map(&mut probe);
        assert_eq!(results, [false; 5]);
        assert!(probe(false));
        assert!(!probe(true) && !probe(false) && !probe(true));
        assert!(probe(true));
        assert!(standing.is_up(now));
    }

    #[test]
    fn probes_that_pass_bring_the_trial_of_an_ejected_server_forward() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        standing.probed(true, 3, 2, now);
        failed(&mut standing, 3, now);
        assert!(
            !standing.probed(true, 3, 2, now) && !standing.awaits_trial(now),
            "only one probe has passed since the ejection"
        );
        standing.probed(false, 3, 2, now);
        standing.probed(true, 3, 2, now);
        assert!(!standing.awaits_trial(now), "the passes are not consecutive");
        standing.probed(true, 3, 2, now);
        assert!(
            standing.awaits_trial(now) && !standing.is_up(now),
            "a trial is allowed, but the server is not up yet"
        );
        standing.begin_trial(now);
        assert!(!standing.awaits_trial(now));
        assert!(standing.succeed(true, || now));
        assert!(standing.is_up(now));
    }

    #[test]
    fn probes_that_pass_while_answers_fail_shorten_only_one_ejection() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        let pass = |standing: &mut Standing| standing.probed(true, 3, 1, now);
        pass(&mut standing);
        standing.begin_trial(now);
        assert!(standing.fail(&policy(), true, true, now));
        pass(&mut standing);
        let doubled = now + 2 * policy().base_ejection_time;
        assert_eq!(
            standing.out(now),
            Some((OutReason::Ejected, Some(doubled))),
            "passing probes are ignored after a failed trial"
        );
        for fails in 1..=2 {
            (0..fails).for_each(|_| assert!(!standing.probed(false, 3, 1, now)));
            pass(&mut standing);
            assert_eq!(
                standing.out(now),
                Some((OutReason::Ejected, Some(doubled))),
                "{fails} failed probes are below the threshold"
            );
        }
        assert_eq!([(); 3].map(|()| standing.probed(false, 3, 1, now)), [false, false, true]);
        pass(&mut standing);
        assert!(standing.awaits_trial(now), "probes count again after they found the server down");
    }

    #[test]
    fn a_cooldown_ends_after_its_time_or_with_a_success() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let pause = Duration::from_secs(5);
        standing.cool_down(pause, now);
        assert_eq!(standing.out(now), Some((OutReason::CoolingDown, Some(now + pause))));
        assert!(standing.is_up(now + pause));
        standing.succeed(false, || now);
        assert!(standing.is_up(now));
    }

    #[test]
    fn a_cooldown_is_reported_when_it_begins_and_not_when_it_is_extended() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut asks =
            |seconds: u64| standing.cool_down(Duration::from_secs(5), now + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 5, 9].map(&mut asks),
            [true, false, false, false],
            "an extended cooldown is not reported again"
        );
        assert!(asks(14), "a new cooldown after the end of the last is reported");
        standing.succeed(false, || now);
        let mut asks =
            |seconds: u64| standing.cool_down(Duration::from_secs(5), now + Duration::from_secs(seconds));
        assert_eq!(
            [15, 19].map(&mut asks),
            [false, false],
            "cooldowns after a success are not reported within the same pause"
        );
        assert!(asks(25));
    }

    #[test]
    fn a_server_that_joins_starts_slowly() {
        let now = Instant::now();
        let share = |standing: &Standing, seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            (standing.share(Some(Duration::from_secs(30)), now) * 100.0).round()
        };
        let joining = Standing::joining(now);
        assert_eq!([0, 15, 30].map(|seconds| share(&joining, seconds)), [10.0, 50.0, 100.0]);
        assert_eq!(share(&Standing::default(), 0), 100.0, "no slow start at the start of the process");
    }
}
