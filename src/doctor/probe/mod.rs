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

/// Why there is nothing to be seen where the probe was told to stop.
pub const INTERRUPTED: &str = "interrupted";

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

/// Makes all tests at all points, at all points at once, until `stop` is ready; what that has said is returned with what was seen until
/// then. What looks like a fault is looked at again: a busy machine shows it once, a hop always.
pub async fn probe<S>(
    points: &mut [Point],
    plan: &Plan,
    progress: &impl Onlooker,
    stop: impl Future<Output = S>,
) -> (Vec<PointSeen>, Option<S>) {
    let mut seen: Vec<_> = points.iter().map(nothing_seen).collect();
    let at_points = points.iter_mut().zip(&mut seen);
    let probing = join_all(at_points.map(|(point, seen)| probe_at(point, seen, plan, progress)));
    let stopped = async {
        tokio::select! {
            _ = probing => None,
            told = stop => Some(told),
        }
    };
    let stopped = telling_the_time(stopped, progress).await;
    (seen, stopped)
}

/// Tells once a second how long this has been running.
pub async fn telling_the_time<T>(work: impl Future<Output = T>, progress: &impl Onlooker) -> T {
    let began = Instant::now();
    let mut work = pin!(work);
    loop {
        match timeout(TICK, &mut work).await {
            Ok(done) => {
                progress.is_over();
                return done;
            }
            Err(_) => progress.has_run_for(began.elapsed()),
        }
    }
}

/// Says of the tests that an interrupted probe has not made that they were not.
pub fn fill_in(seen: &mut [PointSeen], plan: &Plan) {
    let idle = plan.idle.map(|_| IDLE.id);
    for point in seen.iter_mut().filter(|point| point.echo.is_ok()) {
        for id in TESTS.iter().copied().flatten().map(|test| test.id).chain(idle) {
            point.tests.entry(id).or_insert_with(|| Err(INTERRUPTED.to_owned()));
        }
    }
}

fn nothing_seen(point: &Point) -> PointSeen {
    PointSeen {
        name: point.name.clone(),
        url: point.url.clone(),
        echo: Err(INTERRUPTED.to_owned()),
        tests: BTreeMap::new(),
    }
}

async fn probe_at(point: &mut Point, seen: &mut PointSeen, plan: &Plan, progress: &impl Onlooker) {
    let settled = point.settle().await;
    let origin = OriginApi { point, token: &plan.token, fields: &plan.fields };
    seen.echo = match settled {
        Err(error) => Err(error.to_string()),
        Ok(()) => origin.echo(&tests::CARRIED).await,
    };
    progress.reached(seen);
    if seen.echo.is_err() {
        return;
    }
    let idle = async { Some(origin.silences(plan.idle?).await) };
    let (silences, ()) = tokio::join!(idle, measure(&origin, seen, progress));
    if let Some(silences) = silences {
        seen.tests.insert(IDLE.id, silences.map(Figures::Silences));
        progress.seen(seen, &IDLE);
    }
    if seen.tests.values().any(Result::is_err)
        && let Err(why) = origin.echo(&[]).await
    {
        // What was seen was no longer the origin's.
        seen.echo = Err(format!("it was reached, and is not any more: {why}"));
    }
}

async fn measure(origin: &OriginApi<'_>, seen: &mut PointSeen, progress: &impl Onlooker) {
    let began = Instant::now();
    for group in TESTS {
        let shown = join_all(group.iter().map(|test| origin.make(test))).await;
        let is_again = |shown: &_| began.elapsed() < AGAIN_WITHIN && is_suspect(shown);
        let at_once = |shown: &Result<_, _>| shown.is_ok() && is_again(shown);
        let mut again =
            join_all(shown.iter().zip(group.iter()).map(async |(shown, test)| {
                if at_once(shown) { Some(origin.make(test).await) } else { None }
            }))
            .await;
        // One by one: a hop may limit how many there are at once, or in a second.
        for ((shown, test), again) in shown.iter().zip(group.iter()).zip(&mut again) {
            if shown.is_err() && is_again(shown) {
                sleep(PAUSE).await;
                *again = Some(origin.make(test).await);
            }
        }
        // Not before: an interrupted probe shall not tell what a second look would have taken back.
        for ((test, shown), again) in group.iter().zip(shown).zip(again) {
            seen.tests.insert(test.id, better(shown, again));
            progress.seen(seen, test);
        }
    }
}

fn better(shown: Result<Figures, String>, again: Option<Result<Figures, String>>) -> Result<Figures, String> {
    let Some(again) = again else { return shown };
    let is_better = match (&again, &shown) {
        (Ok(Figures::Stream(again)), Ok(Figures::Stream(before))) => again.is_better_than(before),
        (again, _) => again.is_ok(),
    };
    if is_better { again } else { shown }
}

/// Whether a test has shown what a moment's business of this machine might show too.
fn is_suspect(shown: &Result<Figures, String>) -> bool {
    match shown {
        Ok(Figures::Stream(stream)) => !stream.is_flawless(),
        Ok(Figures::Heartbeats(beats)) => !beats.is_prompt(),
        Ok(Figures::AtOnce(streams)) => streams.ran < streams.wanted,
        Ok(_) => false,
        Err(_) => true,
    }
}
