//! Measurements that start a process each time: the memory of idle streams, and the disconnect of many
//! clients at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::certificate::Certificate;
use crate::contender::Contender;
use crate::event::now;
use crate::figures::{self, Figures, percentiles};
use crate::lane::{Lane, Load, begun};
use crate::load::{self, AbortOnDrop, Seen};

/// The time until the process has settled.
const SETTLE: Duration = Duration::from_secs(1);
/// How long streams run before clients disconnect.
const BEFORE: Duration = Duration::from_secs(4);

/// The memory of an idle stream.
pub async fn idle(contender: Contender, load: &Load, certificate: &Certificate) -> Figures {
    // Streams before the measurement, to exclude one-time costs.
    const WARM: usize = 80;
    let lane = Lane::start(contender, certificate);
    let count = load.streams();
    let mut connections = Vec::new();
    let mut before = 0;
    for end in (WARM..count).step_by(200).chain([count]) {
        while connections.len() * load.streams_of_connection() < end {
            connections.push(lane.connect(load, certificate));
        }
        begun(&lane.seen, end).await;
        if end == WARM {
            sleep(SETTLE).await;
            before = lane.proxy.memory();
        }
    }
    sleep(SETTLE).await;
    let growth = lane.proxy.memory().saturating_sub(before) as f64;
    Figures::from([
        (figures::MEMORY, growth / (count - WARM) as f64 / 1e3),
        (figures::BROKEN, lane.seen.broken.get() as f64),
    ])
}

/// The time until the backend sees that 1,000 clients have disconnected, and the effect on 20 clients that
/// stay.
pub async fn storm(contender: Contender, certificate: &Certificate) -> Figures {
    let lane = Lane::start(contender, certificate);
    lane.backend.go().await;
    let stream = |path, seen| AbortOnDrop(load::stream(lane.proxy.plain, path, seen));
    let leaving: Vec<_> = (0..1000).map(|_| stream("/paced/1000/120/1", &lane.seen)).collect();
    begun(&lane.seen, 1000).await;
    let survivors = Rc::new(Seen { gaps: Some(RefCell::default()), ..Seen::default() });
    let staying: Vec<_> = (0..20).map(|_| stream("/paced/50/120/1", &survivors)).collect();
    begun(&survivors, 20).await;
    sleep(BEFORE).await;
    lane.backend.closed().await;
    let (left, left_at) = (now(), Instant::now());
    drop(leaving);
    sleep(2 * SETTLE).await;
    let closed = lane.backend.closed().await;
    let broken = survivors.broken.get() as f64 + (1000.0 - closed.len() as f64).abs();
    drop(staying);
    let [p50, p99] = percentiles(closed.iter().map(|at| at.saturating_sub(left)).collect(), [0.5, 0.99]);
    let gaps = survivors.gaps.as_ref().map(|gaps| gaps.take()).unwrap_or_default();
    let after = left_at..left_at + Duration::from_secs(1);
    let gap_p99 = |is_wanted: &dyn Fn(Instant) -> bool| {
        let wanted = gaps.iter().filter(|(at, _)| is_wanted(*at));
        percentiles(wanted.map(|(_, gap)| gap.as_nanos() as u64).collect(), [0.99])[0] / 1e6
    };
    Figures::from([
        (figures::CLOSES, p50 / 1e6),
        (figures::CLOSES_P99, p99 / 1e6),
        (figures::GAP_BEFORE, gap_p99(&|at| at < left_at)),
        (figures::GAP_AFTER, gap_p99(&|at| after.contains(&at))),
        (figures::BROKEN, broken),
    ])
}
