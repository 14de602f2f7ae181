//! Rounds: in each, every peer has its turn, in an order that is drawn anew.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::alone;
use crate::certificate::Certificate;
use crate::contender::Contender;
use crate::lane::{Lane, Load, Slice};
use crate::scenarios::Work;

/// How often processes that stand all the time have their turn.
const STANDING: usize = 60;
/// How often processes that are started anew for each turn have it.
const FRESH: usize = 3;
/// How long a contender is under load in its turn. The machine is slower for seconds at a time, so short turns and many rounds tell
/// more of the peers in the same time than long turns do; shorter ones would be mostly beginnings.
const SLICE: Duration = Duration::from_millis(200);
/// Descriptors that the clients' process needs beside those of its streams.
const SPARE: usize = 500;

/// What was measured in the turns of each contender, in order.
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

/// Proxies that are all there at once, with all their streams open.
async fn standing(
    load: &Load,
    contenders: &[Contender],
    certificate: &Certificate,
    length: Duration,
) -> Vec<Lane> {
    // A client's socket could take the port that a process has yet to listen on.
    let mut lanes: Vec<_> = contenders.iter().map(|contender| Lane::start(*contender, certificate)).collect();
    for lane in &mut lanes {
        lane.open(load, certificate, length).await;
    }
    lanes
}

/// Whether the clients' process may have as many descriptors as streams for all of them take.
fn fits(load: &Load, contenders: &[Contender]) -> bool {
    let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    load.connections() * contenders.len() + SPARE < allowed
}

/// A number that the environment gives.
fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
