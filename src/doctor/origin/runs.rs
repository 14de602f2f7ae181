//! The streams that a probe origin has been asked for: how many there may be, and what it remembers of each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::doctor::order::RunName;

/// Streams at once: more than a probe asks for, and little for whoever serves beside them.
const MAX_STREAMS: usize = 256;
/// Streams in an hour, so that nobody makes a load generator of it.
const MAX_PER_HOUR: usize = 10_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Runs that are remembered; four bytes for each event of theirs.
const MAX_REMEMBERED: usize = 1_024;

/// All of them.
#[derive(Debug, Default)]
pub struct Runs {
    running: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The oldest first.
    accounts: VecDeque<(RunName, Arc<Mutex<Account>>)>,
    /// When the streams of the last hour began.
    begun: VecDeque<Instant>,
}

/// Why a stream is not begun now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    #[error("{MAX_STREAMS} streams run already, which is the most at once: wait until some have ended")]
    AtOnce,
    #[error("{MAX_PER_HOUR} streams were asked for in the last hour, which is the most: try again later")]
    InAnHour,
}

/// What is known of a stream. All times are since its request had arrived.
#[derive(Debug)]
struct Account {
    arrived: Instant,
    head: Option<Micros>,
    /// When the first write of each event began.
    sent: Vec<Micros>,
    end: Option<(RunEnd, Micros)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunEnd {
    /// As it was ordered.
    Finished,
    ClientGone,
}

/// Microseconds; an hour fits.
#[derive(Clone, Copy, Debug)]
struct Micros(u32);

impl Micros {
    fn since(arrived: Instant) -> Self {
        Self(u32::try_from(arrived.elapsed().as_micros()).unwrap_or(u32::MAX))
    }

    fn ms(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// A stream that runs. Where it is dropped before its end, its client has gone.
#[derive(Debug)]
pub struct ProbeRun {
    runs: Arc<Runs>,
    account: Arc<Mutex<Account>>,
}

impl Runs {
    /// Begins an account, in place of an older one with this name.
    pub fn begin(self: &Arc<Self>, name: RunName, arrived: Instant) -> Result<ProbeRun, TooMany> {
        let mut known = locked(&self.known);
        if self.running.load(Ordering::Relaxed) >= MAX_STREAMS {
            return Err(TooMany::AtOnce);
        }
        known.count(Instant::now())?;
        self.running.fetch_add(1, Ordering::Relaxed);
        let account = Account { arrived, head: None, sent: Vec::new(), end: None };
        let account = Arc::new(Mutex::new(account));
        known.remember(name, account.clone());
        Ok(ProbeRun { runs: self.clone(), account })
    }

    pub fn account(&self, name: &RunName) -> Value {
        let account = locked(&self.known).find(name);
        match account {
            Some(account) => locked(&account).json(name),
            None => json!({ "run": name.as_str(), "known": false }),
        }
    }
}

impl Known {
    fn count(&mut self, now: Instant) -> Result<(), TooMany> {
        while self.begun.front().is_some_and(|begun| now.duration_since(*begun) >= HOUR) {
            self.begun.pop_front();
        }
        if self.begun.len() >= MAX_PER_HOUR {
            return Err(TooMany::InAnHour);
        }
        self.begun.push_back(now);
        Ok(())
    }

    fn find(&self, name: &RunName) -> Option<Arc<Mutex<Account>>> {
        self.accounts.iter().find(|(other, _)| other == name).map(|(_, account)| account.clone())
    }

    fn remember(&mut self, name: RunName, account: Arc<Mutex<Account>>) {
        self.accounts.retain(|(other, _)| *other != name);
        if self.accounts.len() >= MAX_REMEMBERED {
            let finished = self.accounts.iter().position(|(_, account)| locked(account).end.is_some());
            self.accounts.remove(finished.unwrap_or_default());
        }
        self.accounts.push_back((name, account));
    }
}

impl Account {
    fn json(&self, name: &RunName) -> Value {
        let (state, gone, ended) = match self.end {
            None => ("running", None, None),
            Some((RunEnd::Finished, at)) => ("finished", None, Some(at)),
            Some((RunEnd::ClientGone, at)) => ("client_gone", Some(at), None),
        };
        let ms = |at: Option<Micros>| at.map(Micros::ms);
        json!({
            "run": name.as_str(),
            "known": true,
            "state": state,
            "age_ms": Micros::since(self.arrived).ms(),
            "head_ms": ms(self.head),
            "sent_ms": self.sent.iter().map(|at| at.ms()).collect::<Vec<_>>(),
            "gone_ms": ms(gone),
            "ended_ms": ms(ended),
        })
    }

    fn now(&self) -> Micros {
        Micros::since(self.arrived)
    }

    fn end(&mut self, how: RunEnd) {
        let now = self.now();
        self.end.get_or_insert((how, now));
    }
}

impl ProbeRun {
    /// The head of the response is about to be written.
    pub fn head_begins(&self) {
        let mut account = locked(&self.account);
        account.head = Some(account.now());
    }

    /// An event is about to be written; returns how many milliseconds after the request that is.
    pub fn event_begins(&self) -> f64 {
        let mut account = locked(&self.account);
        let now = account.now();
        account.sent.push(now);
        now.ms()
    }

    /// The stream has ended as it was ordered.
    pub fn finish(self) {
        locked(&self.account).end(RunEnd::Finished);
    }
}

impl Drop for ProbeRun {
    fn drop(&mut self) {
        locked(&self.account).end(RunEnd::ClientGone);
        self.runs.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn name(n: usize) -> RunName {
        RunName::new(&format!("run-{n}")).expect("a name")
    }

    fn begin(runs: &Arc<Runs>, n: usize) -> Result<ProbeRun, TooMany> {
        runs.begin(name(n), Instant::now())
    }

    #[test]
    fn so_many_streams_run_at_once_and_no_more() {
        let runs = Arc::new(Runs::default());
        let mut running: Vec<ProbeRun> = (0..MAX_STREAMS).map(|n| begin(&runs, n).expect("room")).collect();
        assert_eq!(begin(&runs, 0).expect_err("no room"), TooMany::AtOnce);
        running.pop();
        assert!(begin(&runs, 0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_streams_begin_in_an_hour_and_no_more() {
        let runs = Arc::new(Runs::default());
        (0..MAX_PER_HOUR).for_each(|n| begin(&runs, n).expect("one of the hour").finish());
        tokio::time::advance(HOUR - Duration::from_secs(1)).await;
        assert_eq!(begin(&runs, 0).expect_err("no more"), TooMany::InAnHour);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(begin(&runs, 0).is_ok());
    }

    #[test]
    fn the_oldest_that_has_ended_is_forgotten_first() {
        let runs = Arc::new(Runs::default());
        let running = begin(&runs, 0).expect("room");
        (1..=MAX_REMEMBERED).for_each(|n| begin(&runs, n).expect("room").finish());
        let is_known = |n| runs.account(&name(n))["known"] == true;
        assert_eq!([0, 1, 2, MAX_REMEMBERED].map(is_known), [true, false, true, true]);
        drop(running);
        assert_eq!(runs.account(&name(0))["state"], "client_gone");
    }

    #[test]
    fn a_name_that_is_used_again_stands_for_the_later_stream() {
        let runs = Arc::new(Runs::default());
        begin(&runs, 0).expect("room").finish();
        let _later = begin(&runs, 0).expect("room");
        assert_eq!(runs.account(&name(0))["state"], "running");
        assert_eq!(locked(&runs.known).accounts.len(), 1);
    }
}
