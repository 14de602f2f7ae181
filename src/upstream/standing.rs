//! What is known of one server: how many streams it carries, and whether it is to get requests. Sans-IO: the time is a parameter.

use std::time::{Duration, Instant};

use crate::config::OutlierPolicy;

/// How long a request tries a server out before another one may.
const TRIAL: Duration = Duration::from_secs(10);

/// The least share of its weight that a server has while it starts slowly.
const LEAST_SHARE: f64 = 0.1;

/// Why a server gets no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutReason {
    /// Probes have failed.
    Unhealthy,
    /// Its answers have failed.
    Ejected,
    /// It has asked for a pause (429, 503).
    CoolingDown,
}

impl OutReason {
    /// The word in `/streams`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::CoolingDown => "cooling_down",
        }
    }
}

/// The state of one server.
#[derive(Debug, Default)]
pub struct Standing {
    /// Streams that it carries.
    pub slots: u32,
    is_down: bool,
    failed_probes: u32,
    passed_probes: u32,
    /// Failures since its last success.
    failures: u32,
    ejection: Option<Ejection>,
    /// How often it was ejected in a row.
    ejections: u32,
    /// Until when it cools down.
    cooldown: Option<Instant>,
    /// Until when a further cooldown is no news, though a success has ended the last one.
    told_cooldown: Option<Instant>,
    /// When it joined or came back.
    returned: Option<Instant>,
}

#[derive(Debug)]
struct Ejection {
    until: Instant,
    /// Since when a request is trying it out.
    trial: Option<Instant>,
    /// That request came when the time was over, and not because no other server was up.
    is_due: bool,
    /// Probes that pass may bring its end forward.
    trusts_probes: bool,
}

impl Ejection {
    /// So many probes in a row that they count have passed or failed. Those that pass bring the trial forward, once: if it fails although
    /// they pass, they say nothing of what is wrong, until they have found it down too.
    fn heed_probes(&mut self, is_ok: bool, now: Instant) {
        if !is_ok {
            self.trusts_probes = true;
        } else if std::mem::take(&mut self.trusts_probes) {
            self.until = self.until.min(now);
        }
    }
}

impl Standing {
    /// A server that joins others, which serve already.
    pub fn joining(now: Instant) -> Self {
        Self { returned: Some(now), ..Self::default() }
    }

    /// Why it is to get no requests now, and if that is known, until when: until the last of the reasons is over.
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

    /// Whether it was taken out: by its answers, or by probes.
    pub fn is_taken_out(&self) -> bool {
        self.is_down || self.is_ejected()
    }

    /// Whether one request may try it out.
    pub fn awaits_trial(&self, now: Instant) -> bool {
        let is_due = matches!(self.out(now), Some((OutReason::Ejected, Some(until))) if until <= now);
        let trial = self.ejection.as_ref().and_then(|ejection| ejection.trial);
        // One that takes that long says nothing, and may never end.
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

    /// The request that tried it out has ended, however it did. If that says nothing of the server, the next one tries it after this time:
    /// no client shall meet it that need not.
    pub fn end_trial(&mut self, pause: Duration, now: Instant) {
        if let Some(ejection) = &mut self.ejection {
            ejection.trial = None;
            ejection.until = ejection.until.max(now + pause);
        }
    }

    /// It has answered well. `is_trial`: the request that tried it out. Returns whether it is back.
    pub fn succeed(&mut self, is_trial: bool, now: impl FnOnce() -> Instant) -> bool {
        self.cooldown = None;
        if self.ejection.is_some() && !is_trial {
            // An answer that began before says nothing of what is now.
            return false;
        }
        self.failures = 0;
        let is_back = self.ejection.take().is_some();
        if is_back {
            self.returned = Some(now());
        }
        is_back
    }

    /// It has failed. `may_eject`: others may get its requests. Returns whether it is ejected now.
    pub fn fail(&mut self, policy: &OutlierPolicy, may_eject: bool, is_trial: bool, now: Instant) -> bool {
        if let Some(ejection) = &self.ejection {
            // Where no other is up, it is asked before its time: that it still fails is no news.
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
        // One that has stayed in for long starts afresh.
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

    /// It has asked for a pause. Returns whether that is news: once in each cooldown, and once in each pause.
    pub fn cool_down(&mut self, pause: Duration, now: Instant) -> bool {
        let is_over = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        let is_news = is_over(self.cooldown) && is_over(self.told_cooldown);
        self.cooldown = Some(now + pause);
        if is_news {
            self.told_cooldown = self.cooldown;
        }
        is_news
    }

    /// Takes what a probe has found. Returns whether that makes it go down or come up.
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

    /// Nobody probes it any more.
    pub fn forget_probes(&mut self) {
        (self.is_down, self.failed_probes, self.passed_probes) = (false, 0, 0);
    }

    /// Nobody is ejected any more.
    pub fn forget_ejection(&mut self) {
        (self.ejection, self.failures, self.ejections) = (None, 0, 0);
    }

    /// What it gets of its weight.
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
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert!(!failed(&mut standing, 2, now));
        standing.succeed(false, || now);
        assert!(!failed(&mut standing, 2, now));
        assert!(failed(&mut standing, 1, now));
        assert_eq!(standing.out(now), Some((OutReason::Ejected, Some(now + policy().base_ejection_time))));
    }

    #[test]
    fn one_that_may_not_be_ejected_stays() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        for _ in 0..10 {
            assert!(!standing.fail(&policy(), false, false, now));
        }
        assert!(standing.is_up(now));
        assert!(failed(&mut standing, 1, now), "as soon as it may");
    }

    #[test]
    fn one_request_tries_an_ejected_server_out_and_brings_it_back() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        assert!(!standing.awaits_trial(now));
        let later = now + policy().base_ejection_time;
        assert!(standing.awaits_trial(later));
        standing.begin_trial(later);
        assert!(!standing.awaits_trial(later), "one at a time");
        assert!(!standing.succeed(false, || later), "what began before says nothing");
        standing.end_trial(Duration::from_secs(10), later);
        assert!(!standing.awaits_trial(later), "nobody else is to meet it at once");
        let (later, at_last) = (later + Duration::from_secs(10), later + Duration::from_secs(20));
        assert!(standing.awaits_trial(later), "whatever became of the trial");
        standing.begin_trial(later);
        assert!(standing.awaits_trial(at_last), "a trial without an end keeps nobody out");
        assert!(standing.succeed(true, || later));
        assert!(standing.is_up(later));
    }

    #[test]
    fn the_time_doubles_up_to_its_limit_and_starts_afresh_after_a_long_stay() {
        let (mut standing, mut now, policy) = (Standing::default(), Instant::now(), policy());
        failed(&mut standing, 3, now);
        let mut times = Vec::new();
        for _ in 0..7 {
            let Some((_, Some(until))) = standing.out(now) else { panic!("it is out") };
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
    fn failures_of_a_server_that_is_asked_before_its_time_are_no_news() {
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
    fn a_server_that_asks_for_a_pause_when_it_is_tried_out_gets_it() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        let (later, pause) = (now + policy().base_ejection_time, Duration::from_secs(30));
        standing.begin_trial(later);
        standing.cool_down(pause, later);
        standing.end_trial(Duration::ZERO, later);
        assert_eq!(standing.out(later), Some((OutReason::Ejected, Some(later + pause))), "that is over last");
        assert!(
            !standing.awaits_trial(later + Duration::from_secs(29)) && standing.awaits_trial(later + pause)
        );
    }

    #[test]
    fn probes_take_a_server_out_and_bring_it_back_after_so_many_in_a_row() {
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
        assert!(!standing.probed(true, 3, 2, now) && !standing.awaits_trial(now), "one since it is out");
        standing.probed(false, 3, 2, now);
        standing.probed(true, 3, 2, now);
        assert!(!standing.awaits_trial(now), "not in a row");
        standing.probed(true, 3, 2, now);
        assert!(standing.awaits_trial(now) && !standing.is_up(now), "it is tried out by one request");
        standing.begin_trial(now);
        assert!(!standing.awaits_trial(now));
        assert!(standing.succeed(true, || now));
        assert!(standing.is_up(now));
    }

    #[test]
    fn probes_that_pass_while_answers_fail_do_not_cut_every_ejection_short() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        failed(&mut standing, 3, now);
        let pass = |standing: &mut Standing| standing.probed(true, 3, 1, now);
        pass(&mut standing);
        standing.begin_trial(now);
        assert!(standing.fail(&policy(), true, true, now));
        pass(&mut standing);
        let doubled = now + 2 * policy().base_ejection_time;
        assert_eq!(standing.out(now), Some((OutReason::Ejected, Some(doubled))), "they said so before");
        for fails in 1..=2 {
            (0..fails).for_each(|_| assert!(!standing.probed(false, 3, 1, now)));
            pass(&mut standing);
            assert_eq!(standing.out(now), Some((OutReason::Ejected, Some(doubled))), "{fails} are too few");
        }
        assert_eq!([(); 3].map(|()| standing.probed(false, 3, 1, now)), [false, false, true]);
        pass(&mut standing);
        assert!(standing.awaits_trial(now), "that it has come back is news");
    }

    #[test]
    fn a_cooldown_ends_by_itself_or_with_a_success() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let pause = Duration::from_secs(5);
        standing.cool_down(pause, now);
        assert_eq!(standing.out(now), Some((OutReason::CoolingDown, Some(now + pause))));
        assert!(standing.is_up(now + pause));
        standing.succeed(false, || now);
        assert!(standing.is_up(now));
    }

    #[test]
    fn a_cooldown_is_news_when_it_begins_and_not_with_each_answer_that_asks_for_it() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let mut asks =
            |seconds: u64| standing.cool_down(Duration::from_secs(5), now + Duration::from_secs(seconds));
        assert_eq!([0, 1, 5, 9].map(&mut asks), [true, false, false, false], "one cooldown that goes on");
        assert!(asks(14), "it was over");
        standing.succeed(false, || now);
        let mut asks =
            |seconds: u64| standing.cool_down(Duration::from_secs(5), now + Duration::from_secs(seconds));
        assert_eq!([15, 19].map(&mut asks), [false, false], "it takes some of its requests");
        assert!(asks(25));
    }

    #[test]
    fn a_server_that_joins_gets_its_share_step_by_step() {
        let now = Instant::now();
        let share = |standing: &Standing, seconds: u64| {
            let now = now + Duration::from_secs(seconds);
            (standing.share(Some(Duration::from_secs(30)), now) * 100.0).round()
        };
        let joining = Standing::joining(now);
        assert_eq!([0, 15, 30].map(|seconds| share(&joining, seconds)), [10.0, 50.0, 100.0]);
        assert_eq!(share(&Standing::default(), 0), 100.0, "never at the start of the process");
    }
}
