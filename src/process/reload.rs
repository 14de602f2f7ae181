//! What requests are served by, made from the configuration; and made anew when that changes, while streams run.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::front_door::SharedOrigin;
use crate::config::{self, Config, Listener};
use crate::exchange::ProxyState;
use crate::net::Workers;
use crate::routing::{Route, RoutingTable};
use crate::telemetry::LiveStreams;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Connector, Upstream};

/// A listener as it is now.
pub type CurrentListener = Arc<ArcSwap<Listener>>;

/// Puts a new configuration in the place of the one that runs.
#[derive(Clone)]
pub struct Reloader(Arc<State>);

struct State {
    builder: Builder,
    shared: Arc<ProxyState>,
    listeners: Vec<CurrentListener>,
    probe: SharedOrigin,
    /// What the process opened, started and named by: that stays, however often the configuration changes.
    started: Config,
    running: ArcSwap<Config>,
}

impl Reloader {
    pub fn new(
        builder: Builder,
        shared: Arc<ProxyState>,
        listeners: Vec<CurrentListener>,
        probe: SharedOrigin,
        config: Config,
    ) -> Self {
        let running = ArcSwap::from_pointee(config.clone());
        Self(Arc::new(State { builder, shared, listeners, probe, started: config, running }))
    }

    /// The configuration that runs.
    pub fn running(&self) -> Arc<Config> {
        self.0.running.load_full()
    }

    /// Serves every request from now on by this configuration: routes, streams, limits, upstreams, and the certificates and
    /// timeouts of listeners. What runs goes on as it began.
    ///
    /// Returns the keys whose changes take effect only with a restart.
    pub fn apply(&self, config: &Config) -> Vec<&'static str> {
        let State { builder, shared, listeners, probe, started, running } = &*self.0;
        let before = shared.table.load_full();
        let known: Vec<_> = before.all_upstreams().collect();
        let table = builder.table(config, &known);
        tell_changes(&before.upstreams, &table.upstreams);
        shared.table.store(Arc::new(table));
        for (index, current) in listeners.iter().enumerate() {
            let address = current.load().address.clone();
            let same_place = config.listeners.get(index).filter(|listener| listener.address == address);
            let same = same_place.or_else(|| config.listeners.iter().find(|l| l.address == address));
            if let Some(listener) = same {
                if listener.doctor != current.load().doctor {
                    probe.announce(&address, listener);
                }
                current.store(Arc::new(listener.clone()));
            }
        }
        running.store(Arc::new(config.clone()));
        needs_restart(started, config)
    }
}

/// Those of all that are not among some.
fn without(all: &[Arc<Upstream>], some: &[Arc<Upstream>]) -> Vec<Arc<Upstream>> {
    all.iter().filter(|one| !some.iter().any(|other| Arc::ptr_eq(one, other))).cloned().collect()
}

/// Tells of upstreams that are new, or that are not configured any more.
fn tell_changes(before: &[Arc<Upstream>], after: &[Arc<Upstream>]) {
    without(after, before).iter().for_each(|added| added.note_added());
    without(before, after).iter().for_each(|removed| removed.note_removed());
}

/// What a process opens, starts or names once.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let addresses = |config: &Config| config.listeners.iter().map(|l| l.address.clone()).collect::<Vec<_>>();
    let keys = [
        ("listeners[].address", addresses(old) != addresses(new)),
        ("admin.address", old.admin != new.admin),
        ("access_log", old.access_log != new.access_log),
        ("metrics", old.metrics != new.metrics),
        ("server.threads", old.server.threads != new.server.threads),
        ("server.log", old.server.log != new.server.log),
    ];
    keys.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}

/// Makes routes and upstreams.
pub struct Builder {
    metrics: Arc<Metrics>,
    connector: Arc<Connector>,
    live: Arc<LiveStreams>,
}

impl Builder {
    /// `ca_file`: authorities in place of the system's.
    pub fn new(
        metrics: Arc<Metrics>,
        live: Arc<LiveStreams>,
        ca_file: Option<&str>,
        workers: &Workers,
    ) -> Self {
        let connector = Arc::new(Connector::new(ca_file, workers));
        Self { metrics, connector, live }
    }

    /// Upstreams whose names are known are those of `before`, with all that is known of their servers; the others of those are leaving.
    pub fn table(&self, config: &Config, before: &[Arc<Upstream>]) -> RoutingTable {
        let upstream = |upstream: &Arc<config::UpstreamConfig>| {
            let Some(running) = before.iter().find(|running| running.name() == upstream.name) else {
                return self.upstream(upstream.clone());
            };
            running.configure(upstream.clone());
            running.clone()
        };
        let upstreams: Vec<_> = config.upstreams.iter().map(upstream).collect();
        let routes =
            config.routes.iter().filter_map(|route| self.route(route, &upstreams, &config.limits)).collect();
        let leaving = without(before, &upstreams).iter().map(Arc::downgrade).collect();
        RoutingTable { routes, upstreams, leaving, limits: config.limits.clone() }
    }

    fn upstream(&self, config: Arc<config::UpstreamConfig>) -> Arc<Upstream> {
        Upstream::new(config, self.connector.clone(), self.metrics.clone(), self.live.clone())
    }

    fn route(
        &self,
        route: &Arc<config::RouteConfig>,
        upstreams: &[Arc<Upstream>],
        limits: &config::Limits,
    ) -> Option<Arc<Route>> {
        let upstream = upstreams.iter().find(|u| u.name() == route.upstream.name)?.clone();
        let names = [route.name.as_str(), &route.upstream.name].map(Arc::from);
        let metrics = self.metrics.route(&route.name);
        Some(Arc::new(Route {
            names,
            config: route.clone(),
            upstream,
            per_client: route.per_client.or(limits.per_client.as_ref()).cloned(),
            metrics,
            has_hinted: Default::default(),
        }))
    }
}
