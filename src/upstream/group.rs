//! The servers of an upstream and the requests that wait for one of them. Sans-IO: what was granted goes out by the caller, and the time
//! is a parameter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{BalancePolicy, Choice, GroupMember, MemberId, Needs, NoChoice, Selection, choose};
use super::budget::Budget;
use super::queue::{Queue, Ticket};
use super::standing::{OutReason, Standing};
use crate::config::{Balance, ServerConfig, UpstreamConfig};

/// What a request is told to come back after, at least and at most.
const RETRY_AFTER: (f64, f64) = (1.0, 60.0);

/// How much the time of one more stream counts in the mean.
const NEWEST: f64 = 0.1;

/// The servers of an upstream, each an `S`; whoever waits is told by a `W`.
pub struct Group<S, W> {
    config: Arc<UpstreamConfig>,
    members: Vec<GroupMember<S>>,
    queue: Queue<Waiter<W>>,
    budget: Budget,
    rng: fastrand::Rng,
    last_id: u64,
    /// For how long a stream holds its slot, in seconds; 0: nothing is known.
    mean: f64,
}

struct Waiter<W> {
    needs: Needs,
    since: Instant,
    grant: W,
}

/// A slot that was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<S> {
    pub id: MemberId,
    pub server: S,
    pub is_trial: bool,
    pub selection: Selection,
}

/// What a request is told that asks for a slot.
#[derive(Debug)]
pub enum Assignment<S> {
    Granted(Grant<S>),
    Queued(Ticket),
    Refused(Refusal),
}

/// Why a request gets no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All servers carry as many streams as they may, and no more requests may wait. It may come back after this time.
    Full(Duration),
    /// No server is up.
    NoServer(Duration),
    /// It has failed on all of them.
    Exhausted,
    NoHttp2,
}

/// What an exchange has shown of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerVerdict {
    Good,
    Failed,
    /// It asks for a pause (429, 503).
    Busy(Duration),
}

/// What a verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Ejected(Before),
    /// For this long.
    CoolsDown(Duration),
    Readmitted,
    WentDown(Before),
    CameUp,
}

/// What a server was that has been taken out: a death is counted once, by what has found it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    In,
    /// Taken out already.
    Out,
}

impl Before {
    fn of(standing: &Standing) -> Self {
        if standing.is_taken_out() { Self::Out } else { Self::In }
    }
}

/// How a new configuration, or a look-up, has changed which servers there are: their titles.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub joined: Vec<String>,
    /// They get no further requests.
    pub leaving: Vec<String>,
    /// Of those, the ones that carry no streams.
    pub gone: Vec<String>,
}

/// A server as it is to be.
pub struct Spec<S> {
    pub config: ServerConfig,
    /// What tells it from the others, and what it is found again by.
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

    /// Since when the one waits that has waited longest.
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

    /// Gives a request a slot, or a place in the queue. `may_wait`: it may be queued; `waiter` makes what it is told by.
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
        // Nobody overtakes those that wait.
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
        // Whom a server has failed has waited for its turn already.
        let is_full = self.queue.len() >= self.config.queue.size && needs.tried.is_empty();
        if !may_wait || self.config.queue.size == 0 || is_full {
            return Assignment::Refused(refusal);
        }
        let waiter = Waiter { needs: needs.clone(), since: now, grant: waiter() };
        Assignment::Queued(self.queue.push(needs.lane.as_deref(), waiter))
    }

    /// Gives slots to those that wait, as many as there are. To be called whenever one may be free.
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

    /// Whether those that wait may have to be looked at at some time, though nothing happens; when.
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

    /// A slot is free again that was not since then. `now`: asked only where it matters. Returns the title of a server that was leaving and
    /// is gone now.
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

    /// Leaves the queue; returns whether it was still in it.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.queue.remove(ticket).is_some()
    }

    /// How many are served before this one.
    pub fn ahead(&self, ticket: Ticket) -> usize {
        self.queue.ahead(ticket)
    }

    /// Takes what an exchange has shown of a server. `now`: asked only where something changes, which it seldom does.
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

    /// Whether one more may be ejected: so many percent, rounded up, and never the last one.
    fn may_eject(&self, index: usize, now: Instant) -> bool {
        let Some(policy) = &self.config.outlier_detection else { return false };
        let present = || self.members.iter().filter(|member| !member.is_leaving);
        let (all, ejected) = (present().count(), present().filter(|m| m.standing.is_ejected()).count());
        let limit = (all * policy.max_ejection_percent as usize).div_ceil(100).min(all.saturating_sub(1));
        // The last one that is up is used all the same, and its time would only grow.
        let mut others =
            self.members.iter().enumerate().filter(|(other, member)| *other != index && !member.is_leaving);
        let has_other = others.any(|(_, member)| member.standing.is_up(now));
        !self.members[index].is_leaving && ejected < limit && has_other
    }

    /// Takes what a probe has found. `is_seen_well`: its streams show that it is well, so that a failed probe says nothing.
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

    /// Whether a further attempt may be made, and counts it. Those after a connection that was not even opened are free.
    pub fn may_fail_over(&mut self, is_free: bool, now: Instant) -> bool {
        is_free || self.budget.take(self.config.failover.budget_percent, now)
    }

    /// Whether another server than these would take the request at once.
    pub fn has_other(&mut self, needs: &Needs, now: Instant) -> bool {
        // Nobody's turn is taken by asking.
        let policy = BalancePolicy { balance: Balance::LeastStreams, ..self.policy() };
        self.queue.is_empty() && choose(&mut self.members, &policy, needs, &mut self.rng, now).is_ok()
    }

    /// Configures it anew. Servers of the same name stay, with their streams and all that is known of them; those that are not there any
    /// more get no further requests.
    pub fn configure(&mut self, config: Arc<UpstreamConfig>, specs: Vec<Spec<S>>, now: Instant) -> Moves {
        // The first ones join nobody.
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

    /// The titles of those that are configured.
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

    /// Whether any server takes requests, and why not, of those that do not.
    pub fn outs(&self, now: Instant) -> impl Iterator<Item = (&GroupMember<S>, Option<OutReason>)> {
        self.members.iter().map(move |member| (member, member.standing.out(now).map(|(reason, _)| reason)))
    }

    /// When a slot is likely to be free for one more: the mean time of a stream for each of those before it that share the slots.
    pub fn retry_after(&mut self) -> Duration {
        let slots: u32 =
            self.members.iter().filter_map(|member| member.config.max_streams).map(|max| max.get()).sum();
        let places = self.queue.len() as f64 + 1.0;
        self.spread(places * self.mean / f64::from(slots.max(1)))
    }

    /// Those that come back are not to come all at once.
    fn spread(&mut self, seconds: f64) -> Duration {
        let jittered = seconds * (0.8 + 0.4 * self.rng.f64());
        Duration::from_secs_f64(jittered.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}
