//! The probe: asks a probe origin for streams through the points of a chain, and notes what comes.

mod measure;
mod observe;
mod origin_api;
mod point;
mod silences;
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

pub use observe::{Ask, MAX_BODY, Observation, ResponseEnd, observe};
pub use point::{Connecting, Override, Point, PointError, Versions};
pub use tests::{Kind, Test};
pub use watch::{Request, watch};

use super::judge::{Figures, PointSeen};
use origin_api::OriginApi;
use tests::{IDLE, TESTS};

/// How often it is told how long the probe has been running.
const TICK: Duration = Duration::from_secs(1);

/// How long tests are made again: a look that is called quick is to take 20 s at the most.
const AGAIN_WITHIN: Duration = Duration::from_secs(13);

/// Before a test that could not be made is made again.
const PAUSE: Duration = Duration::from_millis(300);

/// How a chain is probed.
pub struct Plan {
    /// What the origin has printed.
    pub token: String,
    /// Of every request, beside the probe's own.
    pub fields: Vec<(String, String)>,
    /// How long silent streams are watched; `None`: not at all.
    pub idle: Option<Duration>,
}

/// What a probe tells while it runs.
pub trait Onlooker {
    /// Once a second.
    fn has_run_for(&self, time: Duration);
    fn is_over(&self);
    /// It is known whether the origin is reached through this point.
    fn reached(&self, point: &PointSeen);
    /// A test is done at a point.
    fn seen(&self, point: &PointSeen, test: &Test);
}

/// Makes all tests at all points, at all points at once. What looks like a fault is looked at again: a busy machine shows it once, a
/// hop always.
pub async fn probe(points: &mut [Point], plan: &Plan, progress: &impl Onlooker) -> Vec<PointSeen> {
    let began = Instant::now();
    let mut probing = pin!(join_all(points.iter_mut().map(|point| probe_at(point, plan, progress))));
    loop {
        match timeout(TICK, &mut probing).await {
            Ok(seen) => {
                progress.is_over();
                return seen;
            }
            Err(_) => progress.has_run_for(began.elapsed()),
        }
    }
}

async fn probe_at(point: &mut Point, plan: &Plan, progress: &impl Onlooker) -> PointSeen {
    let settled = point.settle().await;
    let origin = OriginApi { point, token: &plan.token, fields: &plan.fields };
    let echo = match settled {
        Err(error) => Err(error.to_string()),
        Ok(()) => origin.echo(&tests::CARRIED).await,
    };
    let (name, url) = (point.name.clone(), point.url.clone());
    let mut seen = PointSeen { name, url, echo, tests: BTreeMap::new() };
    progress.reached(&seen);
    if seen.echo.is_err() {
        return seen;
    }
    let idle = async { Some(origin.silences(plan.idle?).await) };
    let (silences, ()) = tokio::join!(idle, measure(&origin, &mut seen, progress));
    if let Some(silences) = silences {
        seen.tests.insert(IDLE.id, silences.map(Figures::Silences));
        progress.seen(&seen, &IDLE);
    }
    if seen.tests.values().any(Result::is_err)
        && let Err(why) = origin.echo(&[]).await
    {
        // What was seen was no longer the origin's.
        seen.echo = Err(format!("it was reached, and is not any more: {why}"));
    }
    seen
}

async fn measure(origin: &OriginApi<'_>, seen: &mut PointSeen, progress: &impl Onlooker) {
    let began = Instant::now();
    for group in TESTS {
        let shown = join_all(group.iter().map(|test| origin.make(test))).await;
        seen.tests.extend(group.iter().map(|test| test.id).zip(shown));
        let suspects = group.iter().filter(|test| began.elapsed() < AGAIN_WITHIN && is_suspect(seen, test));
        let (made, failed): (Vec<&Test>, Vec<&Test>) =
            suspects.partition(|test| seen.tests.get(test.id).is_some_and(Result::is_ok));
        let mut again = join_all(made.iter().map(|test| async { (test.id, origin.make(test).await) })).await;
        // A hop may limit how many there are at once, or in a second.
        for test in failed.into_iter().take_while(|_| began.elapsed() < AGAIN_WITHIN) {
            sleep(PAUSE).await;
            again.push((test.id, origin.make(test).await));
        }
        for (id, again) in again {
            let is_better = match (&again, seen.stream(id)) {
                (Ok(Figures::Stream(again)), Some(before)) => again.is_better_than(before),
                (again, _) => again.is_ok(),
            };
            if is_better {
                seen.tests.insert(id, again);
            }
        }
        group.iter().for_each(|test| progress.seen(seen, test));
    }
}

/// Whether a test has shown what a moment's business of this machine might show too.
fn is_suspect(seen: &PointSeen, test: &Test) -> bool {
    match seen.tests.get(test.id) {
        Some(Ok(Figures::Stream(stream))) => !stream.is_flawless(),
        Some(Ok(Figures::Heartbeats(beats))) => !beats.is_prompt(),
        Some(Ok(Figures::AtOnce(streams))) => streams.ran < streams.wanted,
        Some(Ok(_)) | None => false,
        Some(Err(_)) => true,
    }
}
