//! Chooses the server for a request. Sans-IO.

use std::time::{Duration, Instant};

use super::affinity::{by_key, hash};
use super::standing::{OutReason, Standing};
use crate::config::{Balance, ServerConfig};

/// A server of a group.
#[derive(Debug)]
pub struct GroupMember<S> {
    pub id: MemberId,
    pub config: ServerConfig,
    pub server: S,
    pub standing: Standing,
    /// The server is no longer configured and gets no new requests.
    pub is_leaving: bool,
    /// Unique within the group.
    name: String,
    /// The hash of the name, for `balance: hash`.
    pub hash: u64,
    /// The credit of smooth weighted round robin.
    credit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberId(pub u64);

/// The constraints of a request on its server.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The hash of its key, with `balance: hash`.
    pub key: Option<u64>,
    /// The lane in the queue, with `fairness`.
    pub lane: Option<Box<[u8]>>,
    /// Servers on which this request has already failed.
    pub tried: Vec<MemberId>,
    pub needs_http2: bool,
}

/// Why a server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    Balance,
    /// The server of the request's key.
    Affinity,
    /// The server of the request's key is overloaded or down.
    Overflow,
    /// Another server failed the request.
    Failover,
    /// No server is up.
    Panic,
}

impl Selection {
    pub const ALL: [Self; 5] = [Self::Balance, Self::Affinity, Self::Overflow, Self::Failover, Self::Panic];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Affinity => "affinity",
            Self::Overflow => "overflow",
            Self::Failover => "failover",
            Self::Panic => "panic",
        }
    }
}

/// The index of the chosen member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub index: usize,
    pub selection: Selection,
    /// The request is the trial of an ejected server.
    pub is_trial: bool,
}

/// Why no server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// All servers that are up have `max_streams` streams.
    Full,
    /// Probes found all servers down.
    Out,
    /// There is no server, or all of them have already failed the request.
    Exhausted,
    /// The request needs HTTP/2, and all servers speak HTTP/1.1.
    NoHttp2,
}

/// How to choose.
#[derive(Clone, Copy, Debug)]
pub struct BalancePolicy {
    pub balance: Balance,
    /// The load limit of `balance: hash`, in percent of the mean.
    pub balance_percent: u32,
    pub slow_start: Option<Duration>,
}

impl<S> GroupMember<S> {
    pub fn new(id: MemberId, config: ServerConfig, server: S, name: String, standing: Standing) -> Self {
        let hash = hash(name.as_bytes());
        Self { id, config, server, standing, is_leaving: false, name, hash, credit: 0.0 }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name in logs. A server that is one of several addresses of a name also shows the configured name.
    pub fn title(&self) -> String {
        match self.config.is_each_address {
            true => format!("{} of {}", self.name, self.config.origin),
            false => self.name.clone(),
        }
    }

    pub fn has_room(&self) -> bool {
        self.config.max_streams.is_none_or(|max| self.standing.slots < max.get())
    }

    pub fn weight(&self, policy: &BalancePolicy, now: Instant) -> f64 {
        f64::from(self.config.weight.get()) * self.standing.share(policy.slow_start, now)
    }

    /// The load of the server with one more stream, relative to its weight.
    fn load(&self, policy: &BalancePolicy, now: Instant) -> f64 {
        f64::from(self.standing.slots + 1) / self.weight(policy, now)
    }

    fn fits(&self, needs: &Needs) -> bool {
        !self.is_leaving && !needs.tried.contains(&self.id)
    }
}

/// Chooses one of the members.
pub fn choose<S>(
    members: &mut [GroupMember<S>],
    policy: &BalancePolicy,
    needs: &Needs,
    rng: &mut fastrand::Rng,
    now: Instant,
) -> Result<Choice, NoChoice> {
    let speaks = |member: &GroupMember<S>| !needs.needs_http2 || member.config.origin.protocol.is_http2();
    let fits = |member: &GroupMember<S>| member.fits(needs) && speaks(member);
    if !members.iter().any(fits) {
        let mut present = members.iter().filter(|member| !member.is_leaving).peekable();
        let lacks_http2 = present.peek().is_some() && !present.any(speaks);
        return Err(if lacks_http2 { NoChoice::NoHttp2 } else { NoChoice::Exhausted });
    }
    for is_backup in [false, true] {
        let is_of_tier = |member: &GroupMember<S>| fits(member) && member.config.is_backup == is_backup;
        let may_be_tried = |m: &GroupMember<S>| is_of_tier(m) && m.standing.awaits_trial(now) && m.has_room();
        if let Some(index) = members.iter().position(may_be_tried) {
            return Ok(Choice { index, selection: selection(needs, Selection::Balance), is_trial: true });
        }
        let is_up = |member: &GroupMember<S>| is_of_tier(member) && member.standing.is_up(now);
        if members.iter().any(is_up) {
            let picked = pick(members, policy, needs, rng, now, is_up).ok_or(NoChoice::Full)?;
            return Ok(Choice { selection: selection(needs, picked.1), index: picked.0, is_trial: false });
        }
    }
    least_bad(members, now, fits)
}

/// A failover hides every other reason.
fn selection(needs: &Needs, selection: Selection) -> Selection {
    if needs.tried.is_empty() { selection } else { Selection::Failover }
}

/// The fallback when no server is up. An ejected or cooling-down server may still answer, and without
/// sidestream it would get the request too. A server that probes found down is not used.
fn least_bad<S>(
    members: &[GroupMember<S>],
    now: Instant,
    fits: impl Fn(&GroupMember<S>) -> bool,
) -> Result<Choice, NoChoice> {
    let out = |member: &GroupMember<S>| match member.standing.out(now) {
        Some((reason @ (OutReason::Ejected | OutReason::CoolingDown), Some(until))) if fits(member) => {
            Some((reason, until))
        }
        _ => None,
    };
    let all: Vec<_> = members.iter().enumerate().filter_map(|(i, m)| Some((i, out(m)?))).collect();
    if all.is_empty() {
        return Err(NoChoice::Out);
    }
    let with_room = all.iter().filter(|(index, _)| members[*index].has_room());
    let best = with_room.min_by_key(|(index, (_, until))| (members[*index].config.is_backup, *until));
    let (index, (reason, _)) = best.ok_or(NoChoice::Full)?;
    let is_trial = *reason == OutReason::Ejected && !members[*index].standing.is_on_trial();
    Ok(Choice { index: *index, selection: Selection::Panic, is_trial })
}

/// Picks a server that is up and has a free slot.
fn pick<S>(
    members: &mut [GroupMember<S>],
    policy: &BalancePolicy,
    needs: &Needs,
    rng: &mut fastrand::Rng,
    now: Instant,
    is_up: impl Fn(&GroupMember<S>) -> bool,
) -> Option<(usize, Selection)> {
    let is_candidate = |member: &GroupMember<S>| is_up(member) && member.has_room();
    match (policy.balance, needs.key) {
        (Balance::Hash, Some(key)) => return by_key(members, policy, key, now, is_up),
        (Balance::LeastStreams | Balance::Hash, _) => least_streams(members, policy, rng, now, is_candidate),
        (Balance::RoundRobin, _) => round_robin(members, policy, now, is_candidate),
        (Balance::PowerOfTwo, _) => better_of_two(members, policy, rng, now, is_candidate),
    }
    .map(|index| (index, Selection::Balance))
}

fn least_streams<S>(
    members: &[GroupMember<S>],
    policy: &BalancePolicy,
    rng: &mut fastrand::Rng,
    now: Instant,
    is_candidate: impl Fn(&GroupMember<S>) -> bool,
) -> Option<usize> {
    let (mut best, mut least, mut equals) = (None, f64::INFINITY, 0);
    for (index, member) in members.iter().enumerate().filter(|(_, member)| is_candidate(member)) {
        let load = member.load(policy, now);
        if load < least {
            (best, least, equals) = (Some(index), load, 1);
        } else if load <= least {
            // Reservoir sampling: all tied servers are equally likely.
            equals += 1;
            if rng.u32(..equals) == 0 {
                best = Some(index);
            }
        }
    }
    best
}

/// Smooth weighted round robin: the server with the most credit is next, so turns are spread evenly.
fn round_robin<S>(
    members: &mut [GroupMember<S>],
    policy: &BalancePolicy,
    now: Instant,
    is_candidate: impl Fn(&GroupMember<S>) -> bool,
) -> Option<usize> {
    let (mut best, mut total): (Option<usize>, f64) = (None, 0.0);
    for index in 0..members.len() {
        if !is_candidate(&members[index]) {
            continue;
        }
        let weight = members[index].weight(policy, now);
        members[index].credit += weight;
        total += weight;
        if best.is_none_or(|best| members[index].credit > members[best].credit) {
            best = Some(index);
        }
    }
    members[best?].credit -= total;
    best
}

fn better_of_two<S>(
    members: &[GroupMember<S>],
    policy: &BalancePolicy,
    rng: &mut fastrand::Rng,
    now: Instant,
    is_candidate: impl Fn(&GroupMember<S>) -> bool,
) -> Option<usize> {
    let count = members.iter().filter(|member| is_candidate(member)).count();
    if count < 2 {
        return members.iter().position(is_candidate);
    }
    let first = rng.usize(..count);
    let second = (first + rng.usize(1..count)) % count;
    let nth = |n: usize| {
        members.iter().enumerate().filter(|(_, member)| is_candidate(member)).nth(n).map(|(index, _)| index)
    };
    let (first, second) = (nth(first)?, nth(second)?);
    let is_better = members[first].load(policy, now) <= members[second].load(policy, now);
    Some(if is_better { first } else { second })
}
