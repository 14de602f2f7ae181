//! The server: listeners, connections, and graceful shutdown.
//!
//! pingora's accept loop is not used. It retries a port in use for 30 s and then panics, has no deadline for
//! a whole request head, and drains by sleeping for a fixed time.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use tokio::sync::{mpsc, watch};

use super::front_door::{FrontDoor, SharedOrigin};
use super::reload::{Builder, CurrentListener, Reloader};
use crate::admin::{Admin, Readiness};
use crate::config::{self, Config, ListenAddress, ProcessConfig};
use crate::downstream::{Accept, Admission, Inherited, ListeningSocket, serve_own};
use crate::exchange::{Proxy, ProxyState, Shutdown};
use crate::net::Workers;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{AccessLog, LiveStreams, Writer};
use crate::upstream::{AuthoritiesError, NO_AUTHORITIES, system_authorities};

/// How long clients may take to receive the end of their streams after `drain_timeout`.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{key}: cannot listen on {address}: {error}\n  {}", remedy(.address, .error))]
    Listen { key: String, address: ListenAddress, error: io::Error },
    #[error(
        "access_log.path: cannot write to {path}: {error}\n  create its folder, and let the user of this process write there"
    )]
    AccessLog { path: String, error: io::Error },
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(
        "upstreams.{upstream}: the system's certificate authorities cannot be read: {error}\n  install the package ca-certificates, correct SSL_CERT_FILE, or name a file in `tls.ca`"
    )]
    Authorities { upstream: String, error: AuthoritiesError },
    #[error(
        "cannot use the inherited sockets: {0}\n  check LISTEN_FDS, and the socket unit if systemd starts this process"
    )]
    Inherit(io::Error),
    #[error("cannot get random bytes from the kernel: {0}")]
    Random(io::Error),
    #[error("cannot install signal handlers: {0}")]
    Signals(io::Error),
    #[error(
        "cannot start a worker thread: {0}\n  lower `server.threads`, or raise the limit of threads (`ulimit -u`, `TasksMax=`)"
    )]
    Workers(io::Error),
}

/// Why a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The service stops.
    Ended,
    /// A successor listens on the same sockets.
    Replaced,
}

/// The number of open requests and connections.
#[derive(Clone)]
pub struct Counts {
    live: Arc<LiveStreams>,
    connections: IntGauge,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests on {} connections", self.live.count(), self.connections.get())
    }
}

fn remedy(address: &ListenAddress, error: &io::Error) -> String {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp(address)) => format!(
            "another program listens there (`ss -ltnp sport = :{}` shows which): stop it, or choose another port",
            address.port()
        ),
        (io::ErrorKind::AddrInUse, ListenAddress::Unix(path)) => format!(
            "another program listens there (`ss -lxp src {}` shows which), or the file is no socket: choose another path",
            path.display()
        ),
        (io::ErrorKind::PermissionDenied, ListenAddress::Tcp(_)) => {
            "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        (io::ErrorKind::PermissionDenied, ListenAddress::Unix(_)) => {
            "let the user of this process write to the folder of the socket".to_owned()
        }
        (io::ErrorKind::NotFound, ListenAddress::Unix(_)) => "create the folder of the socket".to_owned(),
        (io::ErrorKind::AddrNotAvailable, _) => {
            "this machine does not have this address: use one of its addresses, or 0.0.0.0 for all".to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

/// A server whose sockets are open and which does not accept connections yet.
pub struct Server {
    listeners: Vec<(ListeningSocket, CurrentListener)>,
    admin: Option<ListeningSocket>,
    shared: Arc<ProxyState>,
    probe: SharedOrigin,
    reloader: Reloader,
    metrics: Arc<Metrics>,
    log_writer: Writer,
    workers: Arc<Workers>,
    /// Stops the accept loops, and ends requests for which nothing was sent yet.
    stopping: watch::Sender<bool>,
    /// Ends all streams.
    ending: watch::Sender<bool>,
}

impl Server {
    /// Opens all addresses. Must be called within the tokio runtime that will serve them.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        Self::bind_with(config, &mut Inherited::default(), Workers::default())
    }

    /// Opens all addresses for which no socket was inherited. Must be called within the tokio runtime of the
    /// first worker.
    pub fn bind_with(
        config: &Config,
        inherited: &mut Inherited,
        workers: Workers,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&config.metrics)?);
        let mut open = |address: &ListenAddress, tcp_keepalive, key: String| {
            inherited.take_or_open(address, tcp_keepalive).map_err(|error| StartError::Listen {
                key,
                address: address.clone(),
                error,
            })
        };
        let mut listeners = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let key = format!("listeners[{index}].address");
            let socket = open(&listener.address, listener.tcp_keepalive, key)?;
            listeners.push((socket, Arc::new(ArcSwap::from_pointee(listener.clone()))));
        }
        let admin = config.admin.map(ListenAddress::Tcp);
        let admin = admin.map(|address| open(&address, None, "admin.address".to_owned())).transpose()?;
        let (log, log_writer) = AccessLog::open(&config.access_log, metrics.access_log_dropped())
            .map_err(|error| StartError::AccessLog { path: config.access_log.to_string(), error })?;
        let ((stopping, stopped), (ending, is_ending)) = (watch::channel(false), watch::channel(false));
        let (ca_file, live) = (ca_file(config)?, Arc::new(LiveStreams::default()));
        let builder = Builder::new(metrics.clone(), live.clone(), ca_file, &workers);
        let shared = Arc::new(ProxyState {
            table: ArcSwap::from_pointee(builder.table(config, &[])),
            unrouted: metrics.requests("none"),
            client_limits: Arc::default(),
            live,
            log,
            shutdown: Shutdown::new(stopped, is_ending),
        });
        let current = listeners.iter().map(|(_, current)| current.clone()).collect();
        let probe = SharedOrigin::new().map_err(StartError::Random)?;
        for (socket, listener) in &listeners {
            let listener = listener.load();
            probe.announce(socket.address().as_ref().unwrap_or(&listener.address), &listener);
        }
        let reloader = Reloader::new(builder, shared.clone(), current, probe.clone(), config.clone());
        let workers = Arc::new(workers);
        Ok(Self { listeners, admin, shared, probe, reloader, metrics, log_writer, workers, stopping, ending })
    }

    /// The TCP addresses of the listeners, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, _)| socket.tcp_address()).collect()
    }

    /// All listening sockets, including the admin listener.
    pub fn sockets(&self) -> impl Iterator<Item = &ListeningSocket> {
        self.listeners.iter().map(|(socket, _)| socket).chain(&self.admin)
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.tcp_address()
    }

    /// The handle to change the configuration while the server runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The current counts, live.
    pub fn counts(&self) -> Counts {
        Counts { live: self.shared.live.clone(), connections: self.metrics.connections_open() }
    }

    /// Serves until `stop` resolves, then drains for at most `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = Stop>) {
        // Installed early: without a handler, SIGUSR1 terminates the process.
        let reopening = tokio::spawn(reopen_on_signal(self.shared.log.clone()));
        let stopped = self.stopping.subscribe();
        let is_draining = Arc::new(AtomicBool::new(false));
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let admission =
            Admission::of_clients(self.metrics.connections_open(), self.metrics.connections_refused());
        for (socket, listener) in self.listeners {
            let proxy = Proxy::new(self.shared.clone(), listener.clone());
            let app = Arc::new(FrontDoor::new(proxy, listener.clone(), self.probe.clone()));
            let shared = self.shared.clone();
            let limits = Box::new(move || shared.table.load().limits.clone());
            let (admission, alive) = (admission.clone(), alive.clone());
            let (workers, is_leaving) = (self.workers.clone(), is_draining.clone());
            let accept = Accept { socket, listener, app, limits, admission, workers, is_leaving, alive };
            tokio::spawn(accept.run(stopped.clone()));
        }
        let (admin_stopping, admin_stopped) = watch::channel(false);
        if let Some(socket) = self.admin {
            let readiness = Readiness::new(is_draining.clone(), self.shared.clone());
            let admin = Admin::new(self.metrics.clone(), self.shared.clone(), readiness);
            tokio::spawn(serve_own(socket, admin, admin_stopped));
        }
        drop(alive);

        let why = stop.await;
        let ProcessConfig { drain_delay, drain_timeout, .. } = self.reloader.running().server;
        is_draining.store(true, Ordering::Relaxed);
        // On an upgrade, the successor answers on the same sockets, so no delay is needed.
        if why == Stop::Ended && !drain_delay.is_zero() {
            tracing::info!(?drain_delay, "stopping soon: /readyz fails, and requests are still accepted");
            tokio::time::sleep(drain_delay).await;
        }
        tracing::info!(
            ?drain_timeout,
            "stopping: no new connections are accepted, and open streams may finish; a second signal ends them at once"
        );
        // Fails if every accept loop has already ended.
        let _ = self.stopping.send(true);
        if why == Stop::Replaced {
            // The successor answers on the admin listener now.
            let _ = admin_stopping.send(true);
        }
        if tokio::time::timeout(drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!("drain_timeout is over: ending the streams that are still open");
            // Fails if every stream has just ended.
            let _ = self.ending.send(true);
            if tokio::time::timeout(LAST_WORDS, all_gone.recv()).await.is_err() {
                tracing::warn!("closing the connections that are still open");
            }
        }
        let _ = admin_stopping.send(true);
        reopening.abort();
        // Drops the workers and all connections that they still serve.
        drop(self.workers);
        drop(self.shared);
        drop(self.reloader);
        // Blocks, but nothing else is left to do.
        let finished = tokio::task::spawn_blocking(move || self.log_writer.finish()).await;
        if let Err(error) = finished {
            tracing::error!(%error, "cannot wait for the access log");
        }
    }
}

/// Returns `None` if the system's authorities can be read. Otherwise returns a file without authorities, if
/// no upstream needs them.
fn ca_file(config: &Config) -> Result<Option<&'static str>, StartError> {
    let Err(error) = system_authorities() else { return Ok(None) };
    let needs_them = |upstream: &&Arc<config::UpstreamConfig>| {
        upstream.servers.iter().any(|server| server.origin.protocol.is_tls())
            && upstream.tls.ca.is_none()
            && upstream.tls.verify
    };
    match config.upstreams.iter().find(needs_them) {
        Some(upstream) => Err(StartError::Authorities { upstream: upstream.name.clone(), error }),
        None => Ok(Some(NO_AUTHORITIES)),
    }
}

/// Reopens the access log at each SIGUSR1, as log rotation expects. The handler is installed by this call.
fn reopen_on_signal(log: AccessLog) -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = signal(SignalKind::user_defined1());
    async move {
        match signals {
            Ok(mut signals) => {
                while signals.recv().await.is_some() {
                    log.reopen();
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot handle SIGUSR1: the access log cannot be reopened");
            }
        }
    }
}
