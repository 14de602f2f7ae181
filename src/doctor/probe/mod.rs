//! The probe: requests streams from a probe origin through the points of a chain, and records what arrives.

mod at_once;
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
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

pub use observe::{Ask, MAX_BODY, Observation, ResponseEnd, observe};
pub use point::{Connecting, Override, Point, PointError, Versions};
pub use tests::{Kind, Test};
pub use watch::{Request, watch};

use super::judge::{Figures, NotMade, PointSeen};
use origin_api::OriginApi;
use tests::{IDLE, TESTS};

/// How often the elapsed time is reported.
const TICK: Duration = Duration::from_secs(1);

/// Tests are repeated only within this time: `--quick` should take at most 20 s.
const AGAIN_WITHIN: Duration = Duration::from_secs(13);

/// The pause before a repetition that should not meet what the first try left behind.
const PAUSE: Duration = Duration::from_millis(300);

/// The reason for missing results after the probe was interrupted.
pub const INTERRUPTED: &str = "interrupted";

/// How a chain is probed.
pub struct Plan {
    /// The token that the origin printed.
    pub token: String,
    /// Fields that the user adds to every request.
    pub fields: Vec<(String, String)>,
    /// How long silent streams are watched; `None`: not at all.
    pub idle: Option<Duration>,
}

/// Receives the progress of a probe.
pub trait Onlooker {
    /// Once a second.
    fn has_run_for(&self, time: Duration);
    fn is_over(&self);
    /// The first request has shown whether the origin is reached through this point.
    fn reached(&self, point: &PointSeen);
    /// A test is complete at a point.
    fn seen(&self, point: &PointSeen, test: &Test);
}

/// Makes all tests, at all points at the same time, until `stop` is ready. Returns what was seen until then, and the output of `stop`.
/// A test that shows a fault is repeated: a busy machine shows it once, a hop every time.
pub async fn probe<S>(
    points: &mut [Point],
    plan: &Plan,
    progress: &impl Onlooker,
    stop: impl Future<Output = S>,
) -> (Vec<PointSeen>, Option<S>) {
    let mut seen: Vec<_> = points.iter().map(nothing_seen).collect();
    let at_points = points.iter_mut().zip(&mut seen);
    let many_streams = Mutex::new(());
    let probing =
        join_all(at_points.map(|(point, seen)| probe_at(point, seen, plan, &many_streams, progress)));
    let stopped = async {
        tokio::select! {
            _ = probing => None,
            told = stop => Some(told),
        }
    };
    let stopped = telling_the_time(stopped, progress).await;
    (seen, stopped)
}

/// Reports the elapsed time once a second while `work` runs.
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

/// Marks the tests that an interrupted probe did not make.
pub fn fill_in(seen: &mut [PointSeen], plan: &Plan) {
    let idle = plan.idle.map(|_| IDLE.id);
    for point in seen.iter_mut().filter(|point| point.echo.is_ok()) {
        for id in TESTS.iter().copied().flatten().map(|test| test.id).chain(idle) {
            point.tests.entry(id).or_insert_with(|| Err(INTERRUPTED.into()));
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

async fn probe_at(
    point: &mut Point,
    seen: &mut PointSeen,
    plan: &Plan,
    many_streams: &Mutex<()>,
    progress: &impl Onlooker,
) {
    let settled = point.settle().await;
    let origin = OriginApi { point, token: &plan.token, fields: &plan.fields, many_streams };
    seen.echo = match settled {
        Err(error) => Err(error.to_string()),
        Ok(()) => origin.echo(&tests::CARRIED).await.map_err(|failure| failure.why),
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
        && let Err(failure) = origin.echo(&[]).await
        && !seen.is_by_stream_limit(&failure)
    {
        // The origin has gone away, so the results are not its own.
        seen.echo = Err(format!("it was reached, and is not any more: {failure}"));
    }
}

async fn measure(origin: &OriginApi<'_>, seen: &mut PointSeen, progress: &impl Onlooker) {
    let began = Instant::now();
    for group in TESTS {
        let shown = join_all(group.iter().map(|test| origin.make(test))).await;
        let is_again = |shown: &_| began.elapsed() < AGAIN_WITHIN && is_suspect(shown);
        let at_once = |shown: &Result<_, _>| shown.is_ok() && is_again(shown);
        let mut again = join_all(shown.iter().zip(group.iter()).map(async |(shown, test)| {
            if !at_once(shown) {
                return None;
            }
            if matches!(shown, Ok(Figures::AtOnce(_))) {
                // A hop counts the connections of the first try until it has noticed that they are closed.
                sleep(PAUSE).await;
            }
            Some(origin.make(test).await)
        }))
        .await;
        // One by one: a hop may limit concurrent requests, or their rate.
        for ((shown, test), again) in shown.iter().zip(group.iter()).zip(&mut again) {
            if shown.is_err() && is_again(shown) {
                sleep(PAUSE).await;
                *again = Some(origin.make(test).await);
            }
        }
        // Only now: an interrupted probe must not report a fault that the repetition would not have shown.
        for ((test, shown), again) in group.iter().zip(shown).zip(again) {
            seen.tests.insert(test.id, better(shown, again));
            progress.seen(seen, test);
        }
    }
}

fn better(
    shown: Result<Figures, NotMade>,
    again: Option<Result<Figures, NotMade>>,
) -> Result<Figures, NotMade> {
    let Some(again) = again else { return shown };
    let is_better = match (&again, &shown) {
        (Ok(Figures::Stream(again)), Ok(Figures::Stream(before))) => again.is_better_than(before),
        (Ok(Figures::AtOnce(again)), Ok(Figures::AtOnce(before))) => again.ran > before.ran,
        (again, _) => again.is_ok(),
    };
    if is_better { again } else { shown }
}

/// Whether a busy machine can cause what a test has shown.
fn is_suspect(shown: &Result<Figures, NotMade>) -> bool {
    match shown {
        Ok(Figures::Stream(stream)) => !stream.is_flawless(),
        Ok(Figures::Heartbeats(beats)) => !beats.is_prompt(),
        Ok(Figures::Sample(sample)) => sample.first_difference.is_some(),
        Ok(Figures::AtOnce(streams)) => !streams.is_enough(),
        Ok(_) => false,
        Err(_) => true,
    }
}
