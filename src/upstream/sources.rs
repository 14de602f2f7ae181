//! The entries of `servers`: each is one server, or one server per address of its name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::balance::MemberId;
use super::group::Spec;
use super::health;
use super::resolve::{Lookup, LookupError, Name};
use super::server::{ServerSetup, UpstreamServer};
use super::servers::Upstream;
use crate::config::{Address, HealthPolicy, ServerConfig, UpstreamConfig};
use crate::telemetry::metrics::ServerMetrics;

/// An entry of `servers`.
pub struct Source {
    config: ServerConfig,
    kind: SourceKind,
}

enum SourceKind {
    One(Arc<UpstreamServer>),
    EachAddress {
        name: Arc<Name>,
        port: u16,
        servers: HashMap<SocketAddr, Arc<UpstreamServer>>,
        /// Published while the name has no known address.
        metrics: ServerMetrics,
    },
}

impl Source {
    /// Creates the sources of a configuration. Unchanged ones are taken from `before`, with their idle
    /// connections. Must be called within a tokio runtime.
    pub fn all(config: &UpstreamConfig, mut before: Vec<Self>, setup: &ServerSetup) -> Vec<Self> {
        let source = |server: &ServerConfig| {
            let is_same = |source: &Self| source.is_same(server) && source.is_reached_by(config);
            match before.iter().position(is_same) {
                Some(index) => before.swap_remove(index).configured(server.clone(), setup),
                None => Self::new(server.clone(), setup),
            }
        };
        config.servers.iter().map(source).collect()
    }

    fn new(config: ServerConfig, setup: &ServerSetup) -> Self {
        let kind = match &config.origin.address {
            Address::Tcp { host, port } if config.is_each_address => {
                let name = setup.connector.resolver.name(host, config.resolve);
                let metrics = setup.server_metrics(&config.origin.to_string());
                SourceKind::EachAddress { name, port: *port, servers: HashMap::new(), metrics }
            }
            _ => SourceKind::One(UpstreamServer::new(setup, &config, None)),
        };
        Self { config, kind }
    }

    fn is_same(&self, server: &ServerConfig) -> bool {
        self.config.origin == server.origin && self.config.is_each_address == server.is_each_address
    }

    /// Applies a changed configuration of the same server.
    fn configured(mut self, config: ServerConfig, setup: &ServerSetup) -> Self {
        if let SourceKind::EachAddress { name, .. } = &mut self.kind {
            // The previous handle is still held, so the new one starts with its addresses.
            *name = setup.connector.resolver.name(config.origin.host(), config.resolve);
        }
        Self { config, ..self }
    }

    fn is_reached_by(&self, config: &UpstreamConfig) -> bool {
        match &self.kind {
            SourceKind::One(server) => server.is_reached_by(config),
            SourceKind::EachAddress { servers, .. } => {
                servers.values().all(|server| server.is_reached_by(config))
            }
        }
    }

    /// The current servers. Closes the idle connections to addresses that have vanished.
    pub fn servers(&mut self, setup: &ServerSetup) -> Vec<Spec<Arc<UpstreamServer>>> {
        let Self { config, kind } = self;
        let spec = |name: String, server: &Arc<UpstreamServer>| Spec {
            config: config.clone(),
            name,
            server: server.clone(),
        };
        match kind {
            SourceKind::One(server) => vec![spec(config.origin.to_string(), server)],
            SourceKind::EachAddress { name, port, servers, .. } => {
                let lookup = name.lookups().borrow().clone();
                let known: Vec<_> =
                    lookup.addresses.iter().map(|at| SocketAddr::new(at.ip(), *port)).collect();
                servers.retain(|address, server| {
                    let is_there = known.contains(address);
                    if !is_there {
                        server.close_idle(*address);
                    }
                    is_there
                });
                let mut specs = Vec::new();
                for address in known {
                    let server = servers
                        .entry(address)
                        .or_insert_with(|| UpstreamServer::new(setup, config, Some(address)));
                    specs.push(spec(config.origin.at(address), server));
                }
                specs
            }
        }
    }

    /// The configuration and metrics of the entry, if no address of its name is known yet.
    pub fn unresolved(&self) -> Option<(&ServerConfig, &ServerMetrics)> {
        match &self.kind {
            SourceKind::EachAddress { servers, metrics, .. } if servers.is_empty() => {
                Some((&self.config, metrics))
            }
            _ => None,
        }
    }

    /// The look-ups of the name, if each of its addresses is a server.
    pub fn lookups(&self) -> Option<watch::Receiver<Lookup>> {
        match &self.kind {
            SourceKind::One(_) => None,
            SourceKind::EachAddress { name, .. } => Some(name.lookups()),
        }
    }

    /// The error of the look-up, if no address of the name is known because of it.
    pub fn lookup_failure(&self) -> Option<(String, LookupError)> {
        let lookup = self.lookups()?.borrow().clone();
        let error = lookup.error.filter(|_| lookup.addresses.is_empty())?;
        Some((self.config.origin.host().to_owned(), error))
    }
}

/// The background tasks that follow the names and probe the servers of an upstream.
#[derive(Default)]
pub struct Watches {
    lookups: JoinSet<()>,
    probes: HashMap<MemberId, Probe>,
}

struct Probe {
    policy: HealthPolicy,
    server: Arc<UpstreamServer>,
    task: JoinHandle<()>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watches {
    /// Follows the names whose addresses are separate servers.
    pub fn follow(&mut self, sources: &[Source], upstream: &Arc<Upstream>) {
        self.lookups.abort_all();
        for mut lookups in sources.iter().filter_map(Source::lookups) {
            let upstream = Arc::downgrade(upstream);
            self.lookups.spawn(async move {
                while lookups.changed().await.is_ok() {
                    let is_ok = lookups.borrow_and_update().error.is_none();
                    let Some(upstream) = upstream.upgrade() else { return };
                    upstream.looked_up(is_ok);
                }
            });
        }
    }

    /// Probes exactly these servers.
    pub fn probe(
        &mut self,
        policy: Option<&HealthPolicy>,
        servers: &[(MemberId, Arc<UpstreamServer>)],
        upstream: &Arc<Upstream>,
    ) {
        self.probes.retain(|id, probe| {
            let is_of = |(other, server): &(_, _)| other == id && Arc::ptr_eq(server, &probe.server);
            policy == Some(&probe.policy) && servers.iter().any(is_of)
        });
        let Some(policy) = policy else { return };
        for (id, server) in servers {
            self.probes.entry(*id).or_insert_with(|| {
                let watch = health::watch(Arc::downgrade(upstream), *id, server.clone(), policy.clone());
                Probe { policy: policy.clone(), server: server.clone(), task: tokio::spawn(watch) }
            });
        }
    }
}
