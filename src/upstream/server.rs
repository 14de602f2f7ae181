//! A server of an upstream: how connections to it are opened, pooled and closed.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::addresses::Addresses;
use super::balance::Selection;
use super::connection::Connection;
use super::connector::Connector;
use super::error::{AttemptError, ConnectError, Tried};
use super::http1::Http1Exchange;
use super::http2::Http2Exchange;
use super::pool::PoolKey;
use super::race::Race;
use super::resolve::{Lookup, LookupError};
use super::write_behind::{UpstreamWire, WriteBehind};
use crate::config::{self, Address, HostHeader, Origin, ServerConfig};
use crate::net::pingora::{Http2Stream, OpenError, PeerOptions, TlsPeer};
use crate::net::{Endpoint, Keepalive, descriptors};
use crate::telemetry::metrics::{Metrics, ServerMetrics, UpstreamMetrics};

/// The pause before connecting again to a server that refused the connection.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// Maximum number of concurrent streams on one HTTP/2 connection to a server. A server may allow fewer; RFC 9113, 6.5.2
/// recommends at least 100. Further streams use another connection.
pub const HTTP2_STREAMS: u32 = 100;

/// The maximum number of former addresses of a name that are remembered. Running exchanges may still return
/// connections to them.
const MAX_VANISHED: usize = 64;

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Exchange,
    /// An upgrade needs HTTP/1.1, even if the backend also speaks HTTP/2 (RFC 9113, 8.6).
    Upgrade,
    /// gRPC servers close a connection after more than two PINGs during a silent call. gRPC calls therefore
    /// use separate connections, which are not pinged.
    Grpc,
}

/// Set in the group number of connections for gRPC, to keep them apart.
const GRPC_GROUP: u64 = 1 << 63;

pub struct UpstreamServer {
    /// The configuration of the upstream.
    config: Arc<config::UpstreamConfig>,
    origin: Origin,
    /// The server as the configuration names it.
    label: Arc<str>,
    connector: Arc<Connector>,
    authority: String,
    /// `None` for a unix socket.
    addresses: Option<Addresses>,
    /// Separates connections to the same address that were opened with different settings.
    group: u64,
    /// Streams that one HTTP/2 connection carries at once.
    http2_streams: u32,
    metrics: ServerMetrics,
    /// The metrics of the upstream.
    counts: UpstreamMetrics,
}

/// What the servers of an upstream share.
pub struct ServerSetup {
    pub config: Arc<config::UpstreamConfig>,
    pub connector: Arc<Connector>,
    pub metrics: Arc<Metrics>,
    pub counts: UpstreamMetrics,
    /// Streams that one HTTP/2 connection carries at once.
    pub http2_streams: u32,
}

impl ServerSetup {
    /// The metrics of the server with this label.
    pub fn server_metrics(&self, label: &str) -> ServerMetrics {
        self.metrics.server(&self.config.name, label, &Selection::ALL.map(Selection::as_str))
    }
}

impl UpstreamServer {
    /// `address`: the address, if the server is one of several addresses of its name. Must be called within a
    /// tokio runtime.
    pub fn new(setup: &ServerSetup, server: &ServerConfig, address: Option<SocketAddr>) -> Arc<Self> {
        let ServerSetup { config, connector, counts, .. } = setup;
        let (origin, label) = (server.origin.clone(), server.origin.to_string());
        let addresses = match address {
            Some(address) => Some(Addresses::Fixed(address)),
            None => Addresses::of(&origin, server.resolve, &connector.resolver),
        };
        let server = Arc::new(Self {
            authority: origin.authority(),
            origin,
            metrics: setup.server_metrics(&label),
            label: label.into(),
            addresses,
            group: connector.next_group(),
            http2_streams: setup.http2_streams,
            config: config.clone(),
            connector: connector.clone(),
            counts: counts.clone(),
        });
        if let Some(Addresses::Named { name, .. }) = &server.addresses {
            tokio::spawn(follow(Arc::downgrade(&server), name.lookups()));
        }
        server
    }

    /// Whether `config` has the same connection settings.
    pub fn is_reached_by(&self, config: &config::UpstreamConfig) -> bool {
        let how = |config: &config::UpstreamConfig| {
            let config::UpstreamConfig {
                host,
                connect_timeout,
                keepalive_idle,
                tcp_keepalive,
                http2_ping,
                tls,
                ..
            } = config;
            let times = [Some(*connect_timeout), *keepalive_idle, *tcp_keepalive, *http2_ping];
            (host.clone(), times, tls.clone())
        };
        how(&self.config) == how(config)
    }

    /// The server as the configuration names it.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// The `Host` for requests of sidestream, such as probes.
    pub fn host(&self) -> &str {
        match &self.config.host {
            HostHeader::Name(name) => name,
            HostHeader::Client | HostHeader::Upstream => &self.authority,
        }
    }

    /// The server's host and port, as in a `Host` field.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The address, if the server is one of several addresses of its name.
    pub fn address_of_name(&self) -> Option<SocketAddr> {
        match &self.addresses {
            Some(Addresses::Fixed(address)) if self.origin.has_name() => Some(*address),
            _ => None,
        }
    }

    fn known(&self) -> Vec<SocketAddr> {
        self.addresses.as_ref().map(Addresses::known).unwrap_or_default()
    }

    /// Whether an address of the server is known.
    pub fn is_located(&self) -> bool {
        !matches!(&self.addresses, Some(named @ Addresses::Named { .. }) if named.known().is_empty())
    }

    /// Takes an open idle connection, if there is one.
    ///
    /// Connections that were closed by the backend or received unsolicited bytes are discarded first. A
    /// request that must not be sent twice can therefore use the result.
    pub async fn pooled(&self, wanted: Use) -> Option<Connection> {
        self.config.keepalive_idle?;
        match &self.addresses {
            None => self.pooled_at(None, wanted).await,
            Some(Addresses::Fixed(address)) => self.pooled_at(Some(*address), wanted).await,
            Some(named) => {
                for address in named.known() {
                    if let Some(connection) = self.pooled_at(Some(address), wanted).await {
                        return Some(connection);
                    }
                }
                None
            }
        }
    }

    async fn pooled_at(&self, address: Option<SocketAddr>, wanted: Use) -> Option<Connection> {
        if self.speaks_http2(wanted) {
            return Box::pin(self.pooled_http2(self.endpoint(address)?, wanted)).await;
        }
        let key = PoolKey { group: self.group, address };
        let stream = self.connector.pool().take(key)?;
        Some(Connection::http1(Http1Exchange::new(stream, key), true))
    }

    async fn pooled_http2(&self, endpoint: Endpoint<'_>, wanted: Use) -> Option<Connection> {
        let peer = self.peer(endpoint, wanted).ok()?;
        let stream = self.connector.pingora().pooled_http2(&peer).await?;
        Some(Connection::http2(self.http2(stream, peer), true))
    }

    /// Opens a connection within `connect_timeout`, which does not include the look-up of the name. A server
    /// that refuses the connection may be restarting. If `is_patient`, it is retried until the timeout, which
    /// is safe because nothing was sent. `is_patient` is false if another server can take the request.
    pub async fn open(&self, wanted: Use, is_patient: bool) -> Result<Connection, ConnectError> {
        let started = Instant::now();
        if !descriptors::is_left_for_upstream() {
            return Err(ConnectError::NoDescriptors { server: self.authority.clone() });
        }
        let (mut end, mut refusal) = (None, None);
        let connection = loop {
            let addresses = self.look_up(&mut end).await?;
            let end = *end.get_or_insert_with(|| Instant::now() + self.config.connect_timeout);
            let opened = self.open_any(&addresses, end, |endpoint| self.open_at(endpoint, wanted)).await;
            if let (Err(_), Some(addresses)) = (&opened, &self.addresses) {
                addresses.note_unreachable();
            }
            match opened {
                Ok(connection) => break connection,
                Err(error) if is_patient && error.is_refusal() && Instant::now() + REFUSED_PAUSE < end => {
                    refusal = Some(error);
                    sleep(REFUSED_PAUSE).await;
                }
                // The last attempt may have timed out only because little time was left. The refusal is the
                // real error then.
                Err(error) => return Err(refusal.filter(|_| error.is_timeout()).unwrap_or(error)),
            }
        };
        self.counts.connect.observe(started.elapsed().as_secs_f64());
        Ok(connection)
    }

    /// Whether the backend accepts a connection within this time. The connection is closed.
    pub async fn is_reachable(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit.min(self.config.connect_timeout);
        let Ok(Ok(addresses)) = timeout_at(end, self.look_up(&mut None)).await else { return false };
        self.open_any(&addresses, end, |endpoint| self.connect(endpoint)).await.is_ok()
    }

    /// Opens a connection for a probe: one attempt, without the pool.
    pub async fn open_once(&self, limit: Duration) -> Result<Connection, ConnectError> {
        let end = Instant::now() + limit;
        let addresses = match timeout_at(end, self.look_up(&mut None)).await {
            Ok(found) => found?,
            Err(_) => Vec::new(),
        };
        self.open_any(&addresses, end, |endpoint| self.open_at(endpoint, Use::Exchange)).await
    }

    /// Returns a connection to the pool if it can be reused.
    pub fn give_back(&self, http1: Http1Exchange) {
        let Some(idle) = self.config.keepalive_idle else { return };
        let Some((stream, key, promised)) = http1.into_reusable() else { return };
        let is_there = match (&self.addresses, key.address) {
            (Some(addresses), Some(address)) => addresses.has(address),
            _ => true,
        };
        if is_there {
            self.connector.pool().put(key, stream, promised.map_or(idle, |promised| promised.min(idle)));
        }
    }

    /// Closes the idle connections to an address.
    pub fn close_idle(&self, address: SocketAddr) {
        self.connector.close_idle(PoolKey { group: self.group, address: Some(address) });
        for wanted in [Use::Exchange, Use::Grpc] {
            if self.speaks_http2(wanted)
                && let Ok(peer) = self.peer(Endpoint::Tcp(address), wanted)
            {
                self.connector.close_idle_http2(&peer);
            }
        }
    }

    /// Returns the addresses; empty for a unix socket. If the look-up fails, the server may be starting, so
    /// further look-ups are awaited until `end`, which is `connect_timeout` after the first failure.
    async fn look_up(&self, end: &mut Option<Instant>) -> Result<Vec<SocketAddr>, ConnectError> {
        let Some(addresses) = &self.addresses else { return Ok(Vec::new()) };
        loop {
            let error = match addresses.all().await {
                Ok(addresses) => return Ok(addresses),
                Err(error) => error,
            };
            let end = *end.get_or_insert_with(|| Instant::now() + self.config.connect_timeout);
            let is_over = timeout_at(end, addresses.looked_up()).await.is_err();
            if is_over || error == LookupError::TimedOut {
                return Err(ConnectError::Lookup { host: self.origin.host().to_owned(), error });
            }
        }
    }

    /// Opens a connection to the first of these addresses that accepts one, or to the unix socket.
    async fn open_any<'a, T, F>(
        &'a self,
        addresses: &[SocketAddr],
        end: Instant,
        open: impl Fn(Endpoint<'a>) -> F,
    ) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, AttemptError>> + Send + 'a,
        T: 'a,
    {
        let limit = self.config.connect_timeout;
        let tried = |endpoint: Endpoint<'_>, error| Tried { endpoint: endpoint.to_string(), error };
        if let Some(endpoint) = self.endpoint(addresses.first().copied()).filter(|_| addresses.len() < 2) {
            let opened = timeout_at(end, open(endpoint)).await.unwrap_or(Err(AttemptError::NoAnswer(limit)));
            return opened.map_err(|error| ConnectError::Unreachable(vec![tried(endpoint, error)]));
        }
        let mut race = Race::new(addresses);
        let won = timeout_at(end, race.run(|address| open(Endpoint::Tcp(address)))).await;
        if let Ok(Some((address, connection))) = won {
            if let Some(known) = &self.addresses {
                known.note_taken(address, addresses.first() == Some(&address));
            }
            return Ok(connection);
        }
        let (failed, silent) = race.into_tried();
        let failed = failed.into_iter().map(|(address, error)| tried(Endpoint::Tcp(address), error));
        let silent = silent.into_iter().map(|a| tried(Endpoint::Tcp(a), AttemptError::NoAnswer(limit)));
        Err(ConnectError::Unreachable(failed.chain(silent).collect()))
    }

    /// `address`: `None` for a unix socket.
    fn endpoint(&self, address: Option<SocketAddr>) -> Option<Endpoint<'_>> {
        match (&self.origin.address, address) {
            (Address::Unix(path), _) => Some(Endpoint::Unix(path)),
            (Address::Tcp { .. }, address) => address.map(Endpoint::Tcp),
        }
    }

    /// Whether exchanges of this kind use HTTP/2.
    fn speaks_http2(&self, wanted: Use) -> bool {
        self.origin.protocol.is_http2() && wanted != Use::Upgrade
    }

    async fn open_at(&self, endpoint: Endpoint<'_>, wanted: Use) -> Result<Connection, AttemptError> {
        if self.speaks_http2(wanted) {
            let peer = self.peer(endpoint, wanted)?;
            let stream = self.connector.open_http2(&peer).await?;
            return Ok(Connection::http2(self.http2(stream, peer), false));
        }
        let stream = WriteBehind::new(self.connect(endpoint).await?, self.keepalive());
        let address = match endpoint {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        };
        let key = PoolKey { group: self.group, address };
        Ok(Connection::http1(Http1Exchange::new(stream, key), false))
    }

    /// Opens a connection for HTTP/1.1.
    async fn connect(&self, endpoint: Endpoint<'_>) -> Result<UpstreamWire, AttemptError> {
        match self.origin.protocol.is_tls() {
            true => self.connector.open_tls(&self.peer(endpoint, Use::Upgrade)?).await,
            false => self.connector.open_plain(endpoint, self.keepalive()).await,
        }
    }

    fn keepalive(&self) -> Option<Keepalive> {
        self.config.tcp_keepalive.map(Keepalive::after)
    }

    fn http2(&self, stream: Http2Stream, peer: TlsPeer) -> Http2Exchange {
        let is_tls = self.origin.protocol.is_tls();
        Http2Exchange::new(stream, self.connector.clone(), peer, is_tls, self.config.keepalive_idle)
    }

    fn peer(&self, endpoint: Endpoint<'_>, wanted: Use) -> Result<TlsPeer, OpenError> {
        let (origin, tls) = (&self.origin, &self.config.tls);
        let speaks_http2 = self.speaks_http2(wanted);
        let is_grpc = wanted == Use::Grpc;
        let options = PeerOptions {
            is_tls: origin.protocol.is_tls(),
            server_name: tls.server_name.as_deref().unwrap_or(origin.host()),
            verifies: tls.verify,
            authorities: tls.ca.as_ref().map(|authorities| authorities.wrapped.clone()),
            group: if is_grpc { self.group | GRPC_GROUP } else { self.group },
            speaks_http2,
            is_pooled: self.config.keepalive_idle.is_some(),
            http2_streams: self.http2_streams,
            keepalive: self.keepalive().map(|keepalive| match speaks_http2 {
                true => keepalive,
                // An upload may have to wait for a worker of the backend. Over TLS, the timeout cannot be
                // relaxed later.
                false => Keepalive { user_timeout: Duration::ZERO, ..keepalive },
            }),
            // gRPC is not pinged; TCP keepalive still detects a lost host.
            ping_interval: self.config.http2_ping.filter(|_| !is_grpc),
        };
        TlsPeer::new(endpoint, options)
    }
}

/// Counts the look-ups of a server's name, and closes idle connections to addresses that the name no longer
/// has.
async fn follow(server: Weak<UpstreamServer>, mut lookups: watch::Receiver<Lookup>) {
    let (mut known, mut vanished) =
        (server.upgrade().map(|server| server.known()).unwrap_or_default(), Vec::new());
    while lookups.changed().await.is_ok() {
        let Some(server) = server.upgrade() else { return };
        server.counts.count_lookup(lookups.borrow_and_update().error.is_none());
        let before = std::mem::replace(&mut known, server.known());
        vanished.extend(before);
        vanished.retain(|address| !known.contains(address));
        // Exchanges that were running when the address vanished may have returned their connections since.
        let oldest = vanished.len().saturating_sub(MAX_VANISHED);
        vanished.drain(..oldest);
        vanished.iter().for_each(|address| server.close_idle(*address));
    }
}
