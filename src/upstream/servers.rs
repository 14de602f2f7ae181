//! A running upstream: its servers, its slots and its queue.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::timeout_at;

use super::balance::{MemberId, Needs};
use super::connector::Connector;
use super::error::ConnectError;
use super::group::{Assignment, Grant, Group, Moves, Refusal, ServerVerdict};
use super::news;
use super::queue::Ticket;
use super::resolve::LookupError;
use super::server::{HTTP2_STREAMS, ServerSetup, UpstreamServer};
use super::slot::{Seat, Slot};
use super::sources::{Source, Watches};
use super::standing::OutReason;
use crate::config::{ServerConfig, UpstreamConfig};
use crate::telemetry::LiveStreams;
use crate::telemetry::metrics::{Metrics, UpstreamMetrics};

/// Servers that serve the same API. An upstream lives across reloads while the configuration names it, and
/// then until no exchange runs or waits.
pub struct Upstream {
    name: String,
    connector: Arc<Connector>,
    metrics: Arc<Metrics>,
    counts: UpstreamMetrics,
    live: Arc<LiveStreams>,
    group: Mutex<Waiting>,
    setup: Mutex<Configured>,
    /// Notified when a request is queued, so that the dispatch task sets its next wake-up.
    has_waiting: Notify,
    /// Notified when the servers changed or a name was looked up.
    has_changed: Notify,
    /// The configuration no longer names this upstream.
    is_removed: AtomicBool,
}

type Waiting = Group<Arc<UpstreamServer>, oneshot::Sender<Slot>>;

/// What the current configuration defines.
struct Configured {
    config: Arc<UpstreamConfig>,
    sources: Vec<Source>,
    watches: Watches,
}

/// The answer to a request for a server.
pub enum Placement {
    Slot(Slot),
    Queued(QueuePlace),
    Refused(Refusal),
}

impl Upstream {
    /// Must be called within a tokio runtime.
    pub fn new(
        config: Arc<UpstreamConfig>,
        connector: Arc<Connector>,
        metrics: Arc<Metrics>,
        live: Arc<LiveStreams>,
    ) -> Arc<Self> {
        let group = Mutex::new(Group::new(config.clone(), fastrand::Rng::new()));
        let setup = Configured { config: config.clone(), sources: Vec::new(), watches: Watches::default() };
        let (name, counts) = (config.name.clone(), metrics.upstream(&config.name));
        let (setup, has_waiting, has_changed) = (Mutex::new(setup), Notify::new(), Notify::new());
        let is_removed = AtomicBool::new(false);
        let upstream = Arc::new(Self {
            name,
            connector,
            metrics,
            counts,
            live,
            group,
            setup,
            has_waiting,
            has_changed,
            is_removed,
        });
        upstream.configure(config);
        tokio::spawn(dispatch_in_time(Arc::downgrade(&upstream)));
        upstream
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.counts
    }

    /// Applies a configuration. Servers that it still names keep their streams and state. Must be called
    /// within a tokio runtime.
    pub fn configure(self: &Arc<Self>, config: Arc<UpstreamConfig>) {
        let mut setup = lock(&self.setup);
        let setup = &mut *setup;
        let before = std::mem::take(&mut setup.sources);
        setup.sources = Source::all(&config, before, &self.server_setup(&config));
        setup.config = config;
        setup.watches.follow(&setup.sources, self);
        self.reconcile(setup);
    }

    /// Handles a look-up of a server's name.
    pub(super) fn looked_up(self: &Arc<Self>, is_ok: bool) {
        self.counts.count_lookup(is_ok);
        self.reconcile(&mut lock(&self.setup));
    }

    /// Updates the servers to match the configuration and the look-ups.
    fn reconcile(self: &Arc<Self>, setup: &mut Configured) {
        let server_setup = self.server_setup(&setup.config);
        let specs = setup.sources.iter_mut().flat_map(|source| source.servers(&server_setup)).collect();
        let mut group = lock(&self.group);
        let moves = group.configure(setup.config.clone(), specs, now());
        let present = group.members().iter().filter(|member| !member.is_leaving);
        let present: Vec<_> = present.map(|member| (member.id, member.server.clone())).collect();
        self.dispatch(group);
        setup.watches.probe(setup.config.health.as_ref(), &present, self);
        self.has_changed.notify_waiters();
        let told = match self.is_removed() {
            // That the servers leave was already logged, and that they join will be logged when the upstream
            // is added again.
            true => Moves { gone: moves.gone, ..Moves::default() },
            false => moves,
        };
        news::moves(&self.name, &told);
    }

    /// A new configuration added this upstream, possibly again.
    pub fn note_added(&self) {
        self.is_removed.store(false, Ordering::Relaxed);
        let joined = lock(&self.group).present();
        news::moves(&self.name, &Moves { joined, ..Moves::default() });
    }

    /// A new configuration no longer names this upstream. Running and queued exchanges continue.
    pub fn note_removed(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
        let leaving = lock(&self.group).present();
        news::moves(&self.name, &Moves { leaving, ..Moves::default() });
    }

    /// Whether the configuration no longer names this upstream.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    fn server_setup(&self, config: &Arc<UpstreamConfig>) -> ServerSetup {
        let (connector, metrics, counts) =
            (self.connector.clone(), self.metrics.clone(), self.counts.clone());
        ServerSetup { config: config.clone(), connector, metrics, counts, http2_streams: HTTP2_STREAMS }
    }

    /// Asks for a slot. `may_wait`: the request may be queued, which is not allowed while it holds a slot.
    /// `now`: the approximate time.
    pub fn admit(self: &Arc<Self>, needs: &Needs, may_wait: bool, now: Instant) -> Placement {
        let mut receiver = None;
        let mut group = lock(&self.group);
        let admitted = group.admit(needs, may_wait, now, || {
            let (sender, waiting) = oneshot::channel();
            receiver = Some(waiting);
            sender
        });
        match (admitted, receiver) {
            (Assignment::Queued(ticket), Some(receiver)) => {
                // A slot may be free that no earlier request in the queue can use.
                self.dispatch(group);
                self.has_waiting.notify_one();
                let since = self::now();
                Placement::Queued(QueuePlace { upstream: self.clone(), ticket, receiver, since })
            }
            (Assignment::Granted(grant), _) => {
                drop(group);
                Placement::Slot(self.slot(grant, now))
            }
            (Assignment::Refused(refusal), _) => Placement::Refused(refusal),
            // Not reachable: a queued request always has a receiver.
            (Assignment::Queued(_), None) => Placement::Refused(Refusal::Exhausted),
        }
    }

    fn slot(self: &Arc<Self>, grant: Grant<Arc<UpstreamServer>>, now: Instant) -> Slot {
        grant.server.metrics().count_selection(grant.selection as usize);
        Slot::new(self.clone(), grant.server, Seat { server: grant.id, is_trial: grant.is_trial }, now)
    }

    /// Gives free slots to queued requests.
    fn dispatch(self: &Arc<Self>, mut group: MutexGuard<'_, Waiting>) {
        if group.queued() == 0 {
            return;
        }
        let now = now();
        let granted = group.dispatch(now);
        drop(group);
        for (sender, grant) in granted {
            // If the receiver is gone, dropping the slot frees it.
            let _ = sender.send(self.slot(grant, now));
        }
    }

    pub(super) fn release(self: &Arc<Self>, seat: Seat, since: Instant) {
        let mut group = lock(&self.group);
        let gone = group.release(seat.server, seat.is_trial, since, now);
        self.dispatch(group);
        if let Some(server) = gone {
            news::gone(&self.name, &server);
        }
    }

    /// Applies the result of an exchange to its server. `kind`: the failure, or the status that asked for a
    /// pause.
    pub fn judge(self: &Arc<Self>, seat: Seat, verdict: ServerVerdict, kind: &str) {
        let mut group = lock(&self.group);
        let change = group.judge(seat.server, verdict, seat.is_trial, now);
        let server = group.member(seat.server).map(|member| member.server.clone());
        if change.is_some() {
            self.dispatch(group);
        } else {
            drop(group);
        }
        let Some(server) = server else { return };
        if verdict == ServerVerdict::Failed {
            server.metrics().count_failure(kind);
        }
        if let Some(change) = change {
            news::change(&self.name, &server, change, kind);
        }
    }

    /// Applies the result of a probe.
    pub(super) fn probed(self: &Arc<Self>, id: MemberId, result: Result<(), String>) {
        let mut group = lock(&self.group);
        let Some(server) = group.member(id).map(|member| member.server.clone()) else { return };
        let interval = group.config().health.as_ref().map(|health| health.interval).unwrap_or_default();
        let is_seen_well = result.is_err() && self.live.shows_life(&self.name, server.label(), interval);
        let change = group.probed(id, result.is_ok(), is_seen_well, now());
        self.dispatch(group);
        if let Some(change) = change {
            news::change(&self.name, &server, change, result.err().as_deref().unwrap_or_default());
        }
    }

    /// Whether a failover attempt is allowed. Attempts after a failed connect are free.
    pub fn may_fail_over(&self, is_free: bool) -> bool {
        let may = lock(&self.group).may_fail_over(is_free, now());
        if !may {
            self.counts.failover_budget_exhausted.inc();
        }
        may
    }

    /// Whether another server would accept the request now.
    pub fn has_other(&self, wanted: &Needs) -> bool {
        lock(&self.group).has_other(wanted, now())
    }

    /// Waits until the address of at least one server is known. The first look-up may take as long as it
    /// needs. After a failed look-up, waits up to `connect_timeout`, because the server may be starting.
    pub async fn located(&self) -> Result<(), ConnectError> {
        let mut end = None;
        loop {
            // Created before the check, so that no change is missed.
            let changed = self.has_changed.notified();
            if lock(&self.group).members().iter().any(|member| !member.is_leaving) {
                return Ok(());
            }
            let (failure, limit) = {
                let setup = lock(&self.setup);
                (setup.sources.iter().find_map(Source::lookup_failure), setup.config.connect_timeout)
            };
            let Some((host, error)) = failure else {
                changed.await;
                continue;
            };
            let end = *end.get_or_insert_with(|| tokio::time::Instant::now() + limit);
            if error == LookupError::TimedOut || timeout_at(end, changed).await.is_err() {
                return Err(ConnectError::Lookup { host, error });
            }
        }
    }

    /// The servers that may get the next request: those that are up, or if there are none, those that probes
    /// have not found down.
    pub fn usable(&self) -> Vec<Arc<UpstreamServer>> {
        let (group, now) = (lock(&self.group), now());
        let of = |is_usable: fn(Option<OutReason>) -> bool| -> Vec<_> {
            let usable = group.outs(now).filter(|(member, out)| !member.is_leaving && is_usable(*out));
            usable.map(|(member, _)| member.server.clone()).collect()
        };
        let up = of(|out| out.is_none());
        if up.is_empty() { of(|out| out != Some(OutReason::Unhealthy)) } else { up }
    }

    /// Updates the metrics of the servers and the queue. Called before they are scraped.
    pub fn report(&self) {
        for (_, metrics) in lock(&self.setup).sources.iter().filter_map(Source::unresolved) {
            metrics.show(0, false);
        }
        let (group, now) = (lock(&self.group), now());
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.counts.show_queue(count(group.queued()), count(group.config().queue.size));
        // Several servers may have the same configured name.
        let mut sums: HashMap<&str, (i64, bool, &UpstreamServer)> = HashMap::new();
        for (member, out) in group.outs(now) {
            let sum = sums.entry(member.server.label()).or_insert((0, false, &member.server));
            sum.0 += i64::from(member.standing.slots);
            sum.1 |= out.is_none() && !member.is_leaving && !self.is_removed();
        }
        for (streams, is_up, server) in sums.into_values() {
            server.metrics().show(streams, is_up);
        }
    }

    /// The servers without a known address.
    pub fn unresolved(&self) -> Vec<ServerConfig> {
        let setup = lock(&self.setup);
        setup.sources.iter().filter_map(Source::unresolved).map(|(config, _)| config.clone()).collect()
    }

    /// Runs `look` on the group, for read access.
    pub fn look<T>(&self, look: impl FnOnce(&Waiting, Instant) -> T) -> T {
        look(&lock(&self.group), now())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.counts.hide_queue();
        // The last exchange has ended.
        if *self.is_removed.get_mut() {
            let gone = lock(&self.group).present();
            gone.iter().for_each(|server| news::gone(&self.name, server));
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Dispatches when a cooldown ends or a trial is due, which no other event announces.
async fn dispatch_in_time(upstream: Weak<Upstream>) {
    loop {
        let Some(upstream) = upstream.upgrade() else { return };
        let next = upstream.look(|group, now| group.next_dispatch(now));
        let next = next.map(tokio::time::Instant::from_std);
        // Wakes at least this often, so that the reference to the upstream is released.
        let latest = tokio::time::Instant::now() + Duration::from_secs(1);
        let _ =
            timeout_at(next.map_or(latest, |next| next.min(latest)), upstream.has_waiting.notified()).await;
        upstream.dispatch(lock(&upstream.group));
    }
}

/// A place in the queue. Resolves to a slot. Dropping it leaves the queue.
pub struct QueuePlace {
    upstream: Arc<Upstream>,
    ticket: Ticket,
    receiver: oneshot::Receiver<Slot>,
    since: Instant,
}

impl QueuePlace {
    /// The number of queued requests that are served before this one.
    pub fn ahead(&self) -> usize {
        lock(&self.upstream.group).ahead(self.ticket)
    }

    /// Estimates the time until a slot is free.
    pub fn retry_after(&self) -> Duration {
        lock(&self.upstream.group).retry_after()
    }

    pub fn waited(&self) -> Duration {
        now().saturating_duration_since(self.since)
    }
}

impl Future for QueuePlace {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(slot)) => Poll::Ready(slot),
            // The sender is in the group, which this place keeps alive, so it cannot be dropped without
            // sending.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let mut group = lock(&self.upstream.group);
        group.leave(self.ticket);
    }
}
