//! Rounds: in each, every contender has one turn, in random order.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::alone;
use crate::certificate::Certificate;
use crate::contender::Contender;
use crate::lane::{Lane, Load, Slice};
use crate::scenarios::Work;

/// The number of rounds with processes that run all the time.
const STANDING: usize = 60;
/// The number of rounds with processes that are started for each turn.
const FRESH: usize = 3;
/// The length of a turn. The speed of the machine varies over seconds, so many short turns compare peers
/// better than a few long ones. With even shorter turns, start-up effects would dominate.
const SLICE: Duration = Duration::from_millis(200);
/// File descriptors of the clients' process besides its streams.
const SPARE: usize = 500;

/// The slices of each contender, in order.
pub type Rounds = Vec<(Contender, Vec<Slice>)>;

pub async fn run(work: &Work, contenders: &[Contender], certificate: &Certificate) -> Rounds {
    let length = variable("SLICE_MS").map_or(SLICE, |ms| Duration::from_millis(ms as u64));
    let lanes = match work {
        Work::Slices(load) if fits(load, contenders) => standing(load, contenders, certificate, length).await,
        _ => Vec::new(),
    };
    let count = variable("ROUNDS").unwrap_or(if lanes.is_empty() { FRESH } else { STANDING });
    let mut rounds: Rounds = contenders.iter().map(|contender| (*contender, Vec::new())).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for _ in 0..count {
        random.shuffle(&mut order);
        for &index in &order {
            let (contender, slices) = &mut rounds[index];
            slices.push(match (work, lanes.get(index)) {
                (_, Some(lane)) => lane.slice(length).await,
                (Work::Slices(load), None) => {
                    let lanes = standing(load, &[*contender], certificate, length).await;
                    lanes[0].slice(length).await
                }
                (Work::Idle(load), None) => alone::idle(*contender, load, certificate).await.into(),
                (Work::Storm, None) => alone::storm(*contender, certificate).await.into(),
            });
        }
    }
    rounds
}

/// Starts all proxies and opens all their streams.
async fn standing(
    load: &Load,
    contenders: &[Contender],
    certificate: &Certificate,
    length: Duration,
) -> Vec<Lane> {
    // Processes start first, so that no client socket takes the port that one of them is about to listen on.
    let mut lanes: Vec<_> = contenders.iter().map(|contender| Lane::start(*contender, certificate)).collect();
    for lane in &mut lanes {
        lane.open(load, certificate, length).await;
    }
    lanes
}

/// Whether the descriptor limit of the clients' process suffices for the streams of all contenders.
fn fits(load: &Load, contenders: &[Contender]) -> bool {
    let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    load.connections() * contenders.len() + SPARE < allowed
}

/// A number from an environment variable.
fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
