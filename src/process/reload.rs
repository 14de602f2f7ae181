//! Builds the routing table from the configuration, and replaces it on reload while streams run.

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

/// The current configuration of a listener.
pub type CurrentListener = Arc<ArcSwap<Listener>>;

/// Applies new configurations to the running server.
#[derive(Clone)]
pub struct Reloader(Arc<State>);

struct State {
    builder: Builder,
    shared: Arc<ProxyState>,
    listeners: Vec<CurrentListener>,
    probe: SharedOrigin,
    /// The configuration at the start. Settings that need a restart are compared with it.
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

    /// The configuration in effect.
    pub fn running(&self) -> Arc<Config> {
        self.0.running.load_full()
    }

    /// Applies a configuration to new requests: routes, streams, limits, upstreams, and the certificates and
    /// timeouts of listeners. Running exchanges continue as they began.
    ///
    /// Returns the changed keys that need a restart.
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

/// The elements of `all` that are not in `some`.
fn without(all: &[Arc<Upstream>], some: &[Arc<Upstream>]) -> Vec<Arc<Upstream>> {
    all.iter().filter(|one| !some.iter().any(|other| Arc::ptr_eq(one, other))).cloned().collect()
}

/// Notifies upstreams that were added or removed.
fn tell_changes(before: &[Arc<Upstream>], after: &[Arc<Upstream>]) {
    without(after, before).iter().for_each(|added| added.note_added());
    without(before, after).iter().for_each(|removed| removed.note_removed());
}

/// The changed keys of settings that apply only at the start.
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

/// Builds routes and upstreams.
pub struct Builder {
    metrics: Arc<Metrics>,
    connector: Arc<Connector>,
    live: Arc<LiveStreams>,
}

impl Builder {
    /// `ca_file`: certificate authorities that replace the system's.
    pub fn new(
        metrics: Arc<Metrics>,
        live: Arc<LiveStreams>,
        ca_file: Option<&str>,
        workers: &Workers,
    ) -> Self {
        let connector = Arc::new(Connector::new(ca_file, workers));
        Self { metrics, connector, live }
    }

    /// Builds the table. Upstreams are reused from `before` by name, with the state of their servers. The
    /// other upstreams of `before` are removed.
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
