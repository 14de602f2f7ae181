//! The servers of an upstream and the queue of requests that wait for a slot. Sans-IO: the caller delivers
//! the grants and passes in the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{BalancePolicy, Choice, GroupMember, MemberId, Needs, NoChoice, Selection, choose};
use super::budget::Budget;
use super::queue::{Queue, Ticket};
use super::standing::{OutReason, Standing};
use crate::config::{Balance, ServerConfig, UpstreamConfig};

/// Bounds of `Retry-After`, in seconds.
const RETRY_AFTER: (f64, f64) = (1.0, 60.0);

/// The weight of the newest stream in the moving average of slot times.
const NEWEST: f64 = 0.1;

/// The servers of an upstream, each with a handle `S`. `W` is the handle by which a queued request is
/// notified.
pub struct Group<S, W> {
    config: Arc<UpstreamConfig>,
    members: Vec<GroupMember<S>>,
    queue: Queue<Waiter<W>>,
    budget: Budget,
    rng: fastrand::Rng,
    last_id: u64,
    /// The moving average of how long a stream holds its slot, in seconds. 0: no data yet.
    mean: f64,
}

struct Waiter<W> {
    needs: Needs,
    since: Instant,
    grant: W,
}

/// A granted slot.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<S> {
    pub id: MemberId,
    pub server: S,
    pub is_trial: bool,
    pub selection: Selection,
}

/// The answer to a request for a slot.
#[derive(Debug)]
pub enum Assignment<S> {
    Granted(Grant<S>),
    Queued(Ticket),
    Refused(Refusal),
}

/// Why a request gets no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All servers have `max_streams` streams, and the queue is full or off. The request may be retried after
    /// this time.
    Full(Duration),
    /// No server is up. The request may be retried after this time.
    NoServer(Duration),
    /// The request has failed on all servers.
    Exhausted,
    NoHttp2,
}

/// The result of an exchange, as it concerns the health of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerVerdict {
    Good,
    Failed,
    /// The server asked for a pause (429, 503).
    Busy(Duration),
}

/// A change of a server's state that a verdict or a probe caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Ejected(Before),
    /// The length of the cooldown.
    CoolsDown(Duration),
    Readmitted,
    WentDown(Before),
    CameUp,
}

/// Whether the server was already taken out, so that probes and answers that find the same failure count it
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    In,
    /// Already ejected or down.
    Out,
}

impl Before {
    fn of(standing: &Standing) -> Self {
        if standing.is_taken_out() { Self::Out } else { Self::In }
    }
}

/// The servers that a new configuration or a look-up added and removed, by title.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub joined: Vec<String>,
    /// Removed; they get no new requests.
    pub leaving: Vec<String>,
    /// Removed servers that carry no streams.
    pub gone: Vec<String>,
}

/// The wanted state of a server.
pub struct Spec<S> {
    pub config: ServerConfig,
    /// Identifies the server within the group, also across configurations.
    pub name: String,
    pub server: S,
}

impl<S: Clone, W> Group<S, W> {
    pub fn new(config: Arc<UpstreamConfig>, rng: fastrand::Rng) -> Self {
        let (members, queue, budget) = (Vec::new(), Queue::default(), Budget::default());
        Self { config, members, queue, budget, rng, last_id: 0, mean: 0.0 }
    }

    pub fn config(&self) -> &Arc<UpstreamConfig> {
        &self.config
    }

    pub fn members(&self) -> &[GroupMember<S>] {
        &self.members
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// When the request that has waited longest was queued.
    pub fn oldest(&self) -> Option<Instant> {
        self.queue.iter().map(|waiter| waiter.since).min()
    }

    fn policy(&self) -> BalancePolicy {
        BalancePolicy {
            balance: self.config.balance,
            balance_percent: self.config.hash.balance_percent,
            slow_start: self.config.slow_start,
        }
    }

    /// Gives a request a slot or a place in the queue. `may_wait`: the request may be queued. `waiter`
    /// creates its handle.
    pub fn admit(
        &mut self,
        needs: &Needs,
        may_wait: bool,
        now: Instant,
        waiter: impl FnOnce() -> W,
    ) -> Assignment<S> {
        if needs.tried.is_empty() {
            self.budget.note_request(now);
        }
        // First come, first served: a new request never overtakes the queue.
        let chosen = match self.queue.is_empty() {
            true => self.choose(needs, now),
            false => Err(NoChoice::Full),
        };
        let refusal = match chosen {
            Ok(choice) => return Assignment::Granted(self.grant(choice, now)),
            Err(NoChoice::NoHttp2) => return Assignment::Refused(Refusal::NoHttp2),
            Err(NoChoice::Exhausted) => return Assignment::Refused(Refusal::Exhausted),
            Err(NoChoice::Full) => Refusal::Full(self.retry_after()),
            Err(NoChoice::Out) => Refusal::NoServer(self.spread(RETRY_AFTER.0)),
        };
        // A request that fails over has already waited for its turn, so it is queued even when the queue is
        // full.
        let is_full = self.queue.len() >= self.config.queue.size && needs.tried.is_empty();
        if !may_wait || self.config.queue.size == 0 || is_full {
            return Assignment::Refused(refusal);
        }
        let waiter = Waiter { needs: needs.clone(), since: now, grant: waiter() };
        Assignment::Queued(self.queue.push(needs.lane.as_deref(), waiter))
    }

    /// Gives free slots to queued requests. Must be called whenever a slot may have become free.
    pub fn dispatch(&mut self, now: Instant) -> Vec<(W, Grant<S>)> {
        let mut granted = Vec::new();
        while !self.queue.is_empty() {
            let policy = self.policy();
            let (members, rng) = (&mut self.members, &mut self.rng);
            let mut choice = None;
            let waiter = self.queue.take(|waiter| {
                choice = choose(members, &policy, &waiter.needs, rng, now).ok();
                choice.is_some()
            });
            let (Some(waiter), Some(choice)) = (waiter, choice) else { break };
            granted.push((waiter.grant, self.grant(choice, now)));
        }
        granted
    }

    /// The next time the queue needs attention even if no slot becomes free.
    pub fn next_dispatch(&self, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        let until = |member: &GroupMember<S>| member.standing.out(now).and_then(|(_, until)| until);
        self.members.iter().filter_map(until).filter(|until| *until > now).min()
    }

    fn choose(&mut self, needs: &Needs, now: Instant) -> Result<Choice, NoChoice> {
        let policy = self.policy();
        choose(&mut self.members, &policy, needs, &mut self.rng, now)
    }

    fn grant(&mut self, Choice { index, selection, is_trial }: Choice, now: Instant) -> Grant<S> {
        let member = &mut self.members[index];
        member.standing.slots += 1;
        if is_trial {
            member.standing.begin_trial(now);
        }
        Grant { id: member.id, server: member.server.clone(), is_trial, selection }
    }

    /// Frees a slot that was granted at `since`. `now` is called only where the time matters. Returns the
    /// title of a removed server that carried its last stream.
    pub fn release(
        &mut self,
        id: MemberId,
        was_trial: bool,
        since: Instant,
        now: impl Fn() -> Instant,
    ) -> Option<String> {
        let index = self.index(id)?;
        let member = &mut self.members[index];
        if member.config.max_streams.is_some() {
            let seconds = now().saturating_duration_since(since).as_secs_f64();
            self.mean = if self.mean > 0.0 { self.mean + NEWEST * (seconds - self.mean) } else { seconds };
        }
        member.standing.slots = member.standing.slots.saturating_sub(1);
        if was_trial {
            let policy = self.config.outlier_detection.as_ref();
            let pause = policy.map(|policy| policy.base_ejection_time).unwrap_or_default();
            member.standing.end_trial(pause, now());
        }
        let is_gone = member.is_leaving && member.standing.slots == 0;
        is_gone.then(|| self.members.swap_remove(index).title())
    }

    /// Removes a request from the queue. Returns whether it was still queued.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.queue.remove(ticket).is_some()
    }

    /// The number of queued requests that are served before this one.
    pub fn ahead(&self, ticket: Ticket) -> usize {
        self.queue.ahead(ticket)
    }

    /// Applies the result of an exchange to the server's state. `now` is called only where the time matters,
    /// which is rare.
    pub fn judge(
        &mut self,
        id: MemberId,
        verdict: ServerVerdict,
        is_trial: bool,
        now: impl Fn() -> Instant,
    ) -> Option<Change> {
        let index = self.index(id)?;
        let may_eject = verdict == ServerVerdict::Failed && self.may_eject(index, now());
        let standing = &mut self.members[index].standing;
        let before = Before::of(standing);
        match (verdict, &self.config.outlier_detection) {
            (ServerVerdict::Good, _) => standing.succeed(is_trial, now).then_some(Change::Readmitted),
            (_, None) => None,
            (ServerVerdict::Busy(pause), _) => {
                standing.cool_down(pause, now()).then_some(Change::CoolsDown(pause))
            }
            (ServerVerdict::Failed, Some(policy)) => {
                standing.fail(policy, may_eject, is_trial, now()).then_some(Change::Ejected(before))
            }
        }
    }

    /// Whether another server may be ejected: at most `max_ejection_percent`, rounded up, and never the last
    /// one that is up.
    fn may_eject(&self, index: usize, now: Instant) -> bool {
        let Some(policy) = &self.config.outlier_detection else { return false };
        let present = || self.members.iter().filter(|member| !member.is_leaving);
        let (all, ejected) = (present().count(), present().filter(|m| m.standing.is_ejected()).count());
        let limit = (all * policy.max_ejection_percent as usize).div_ceil(100).min(all.saturating_sub(1));
        // The last server that is up would get requests anyway, and each failure would lengthen its ejection.
        let mut others =
            self.members.iter().enumerate().filter(|(other, member)| *other != index && !member.is_leaving);
        let has_other = others.any(|(_, member)| member.standing.is_up(now));
        !self.members[index].is_leaving && ejected < limit && has_other
    }

    /// Applies the result of a probe. `is_seen_well`: running streams show that the server works, so a failed
    /// probe is ignored.
    pub fn probed(&mut self, id: MemberId, is_ok: bool, is_seen_well: bool, now: Instant) -> Option<Change> {
        let index = self.index(id)?;
        let health = self.config.health.as_ref()?;
        if !is_ok && is_seen_well {
            return None;
        }
        let (fails, passes) = (health.fails.get(), health.passes.get());
        let standing = &mut self.members[index].standing;
        let before = Before::of(standing);
        let has_changed = standing.probed(is_ok, fails, passes, now);
        has_changed.then_some(if is_ok { Change::CameUp } else { Change::WentDown(before) })
    }

    /// Whether a failover attempt is allowed, and counts it. Attempts after a failed connect are free
    /// (`is_free`).
    pub fn may_fail_over(&mut self, is_free: bool, now: Instant) -> bool {
        is_free || self.budget.take(self.config.failover.budget_percent, now)
    }

    /// Whether a server outside `needs.tried` would accept the request now.
    pub fn has_other(&mut self, needs: &Needs, now: Instant) -> bool {
        // Round robin would advance its turn even though nothing is granted.
        let policy = BalancePolicy { balance: Balance::LeastStreams, ..self.policy() };
        self.queue.is_empty() && choose(&mut self.members, &policy, needs, &mut self.rng, now).is_ok()
    }

    /// Applies a new configuration. Servers with the same name keep their streams and state. Servers that are
    /// no longer configured get no new requests.
    pub fn configure(&mut self, config: Arc<UpstreamConfig>, specs: Vec<Spec<S>>, now: Instant) -> Moves {
        // Servers of the first configuration have not joined an existing group.
        let is_start = self.last_id == 0;
        let before = self.present();
        if config.health.is_none() {
            self.members.iter_mut().for_each(|member| member.standing.forget_probes());
        }
        if config.outlier_detection.is_none() {
            self.members.iter_mut().for_each(|member| member.standing.forget_ejection());
        }
        self.config = config;
        self.members.iter_mut().for_each(|member| member.is_leaving = true);
        let mut members = Vec::new();
        for Spec { config, name, server } in specs {
            let known = self.members.iter().position(|member| member.name() == name);
            let member = match known {
                Some(index) => {
                    let mut known = self.members.swap_remove(index);
                    (known.config, known.server, known.is_leaving) = (config, server, false);
                    known
                }
                None => {
                    let standing = if is_start { Standing::default() } else { Standing::joining(now) };
                    self.last_id += 1;
                    GroupMember::new(MemberId(self.last_id), config, server, name, standing)
                }
            };
            members.push(member);
        }
        let (running, idle): (Vec<_>, Vec<_>) =
            self.members.drain(..).partition(|member| member.standing.slots > 0);
        members.extend(running);
        self.members = members;
        let without = |all: &[String], some: &[String]| -> Vec<String> {
            all.iter().filter(|name| !some.contains(name)).cloned().collect()
        };
        let after = self.present();
        Moves {
            joined: if is_start { Vec::new() } else { without(&after, &before) },
            leaving: without(&before, &after),
            gone: idle.iter().map(GroupMember::title).collect(),
        }
    }

    /// The titles of the configured servers.
    pub fn present(&self) -> Vec<String> {
        let present = self.members.iter().filter(|member| !member.is_leaving);
        present.map(GroupMember::title).collect()
    }

    fn index(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    pub fn member(&self, id: MemberId) -> Option<&GroupMember<S>> {
        self.index(id).map(|index| &self.members[index])
    }

    /// All servers, each with the reason why it gets no requests, if any.
    pub fn outs(&self, now: Instant) -> impl Iterator<Item = (&GroupMember<S>, Option<OutReason>)> {
        self.members.iter().map(move |member| (member, member.standing.out(now).map(|(reason, _)| reason)))
    }

    /// Estimates when a slot becomes free for a new request: the mean slot time for each queued request,
    /// divided by the number of slots.
    pub fn retry_after(&mut self) -> Duration {
        let slots: u32 =
            self.members.iter().filter_map(|member| member.config.max_streams).map(|max| max.get()).sum();
        let places = self.queue.len() as f64 + 1.0;
        self.spread(places * self.mean / f64::from(slots.max(1)))
    }

    /// Adds jitter of 20 % so that clients do not all retry at once.
    fn spread(&mut self, seconds: f64) -> Duration {
        let jittered = seconds * (0.8 + 0.4 * self.rng.f64());
        Duration::from_secs_f64(jittered.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}
