//! Rounds: in each, every peer has its turn, in an order that is drawn anew.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::alone;
use crate::certificate::Certificate;
use crate::lane::{Lane, Load, Slice};
use crate::peers::Peer;
use crate::scenarios::Work;

/// How often processes that stand all the time have their turn.
const STANDING: usize = 60;
/// How often processes that are started anew for each turn have it.
const FRESH: usize = 3;
/// How long a peer is under load in its turn. The machine is slower for seconds at a time, so short turns and many rounds tell
/// more of the peers in the same time than long turns do; shorter ones would be mostly beginnings.
const SLICE: Duration = Duration::from_millis(200);
/// Descriptors that the clients' process needs beside those of its streams.
const SPARE: usize = 500;

/// What was measured in the turns of each peer, in order.
pub type Rounds = Vec<(Peer, Vec<Slice>)>;

pub async fn run(work: &Work, peers: &[Peer], certificate: &Certificate) -> Rounds {
    let length = variable("SLICE_MS").map_or(SLICE, |ms| Duration::from_millis(ms as u64));
    let lanes = match work {
        Work::Slices(load) if fits(load, peers) => standing(load, peers, certificate, length).await,
        _ => Vec::new(),
    };
    let count = variable("ROUNDS").unwrap_or(if lanes.is_empty() { FRESH } else { STANDING });
    let mut rounds: Rounds = peers.iter().map(|peer| (*peer, Vec::new())).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut order: Vec<usize> = (0..peers.len()).collect();
    for _ in 0..count {
        random.shuffle(&mut order);
        for &index in &order {
            let (peer, slices) = &mut rounds[index];
            slices.push(match (work, lanes.get(index)) {
                (_, Some(lane)) => lane.slice(length).await,
                (Work::Slices(load), None) => {
                    let lanes = standing(load, &[*peer], certificate, length).await;
                    lanes[0].slice(length).await
                }
                (Work::Idle(load), None) => alone::idle(*peer, load, certificate).await.into(),
                (Work::Storm, None) => alone::storm(*peer, certificate).await.into(),
            });
        }
    }
    rounds
}

/// Proxies that are all there at once, with all their streams open.
async fn standing(load: &Load, peers: &[Peer], certificate: &Certificate, length: Duration) -> Vec<Lane> {
    // A client's socket could take the port that a process has yet to listen on.
    let mut lanes: Vec<_> = peers.iter().map(|peer| Lane::start(*peer, certificate)).collect();
    for lane in &mut lanes {
        lane.open(load, certificate, length).await;
    }
    lanes
}

/// Whether the clients' process may have as many descriptors as streams for all of them take.
fn fits(load: &Load, peers: &[Peer]) -> bool {
    let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    load.connections() * peers.len() + SPARE < allowed
}

/// A number that the environment gives.
fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
