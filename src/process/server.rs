//! The running process: listeners, connections, and the way to its end.
//!
//! The accept loops are ours and not pingora's: theirs retries a port in use for 30 s and then panics, has no deadline
//! for a whole request head, and drains by sleeping for a fixed time.

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

/// How long clients may take to read why their streams have ended, when `drain_timeout` is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{key}: cannot listen on {address}: {error}\n  {}", remedy(.address, .error))]
    Listen { key: String, address: ListenAddress, error: io::Error },
    #[error(
        "access_log.path: cannot write to {path}: {error}\n  create its folder, and let this user write there"
    )]
    AccessLog { path: String, error: io::Error },
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(
        "upstreams.{upstream}: the system's certificate authorities cannot be read: {error}\n  install them (the package \
         ca-certificates), correct SSL_CERT_FILE, or name a file in `tls.ca`"
    )]
    Authorities { upstream: String, error: AuthoritiesError },
    #[error("cannot take over the sockets that were handed over: {0}")]
    Inherit(io::Error),
    #[error("cannot get random bytes from the kernel: {0}")]
    Random(io::Error),
    #[error("cannot hear signals: {0}")]
    Signals(io::Error),
    #[error(
        "cannot start a worker thread: {0}\n  lower `server.threads`, or raise what limits threads (`ulimit -u`, `TasksMax=`)"
    )]
    Workers(io::Error),
}

/// Why a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The service ends.
    Ended,
    /// A successor listens on the same sockets.
    Replaced,
}

/// What is open now.
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
            "let this user write to the folder of the socket".to_owned()
        }
        (io::ErrorKind::NotFound, ListenAddress::Unix(_)) => "create the folder of the socket".to_owned(),
        (io::ErrorKind::AddrNotAvailable, _) => {
            "this machine has no such address: use one of its own, or 0.0.0.0 for all".to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

/// A server whose sockets are open and which has not accepted anything yet.
pub struct Server {
    listeners: Vec<(ListeningSocket, CurrentListener)>,
    admin: Option<ListeningSocket>,
    shared: Arc<ProxyState>,
    probe: SharedOrigin,
    reloader: Reloader,
    metrics: Arc<Metrics>,
    log_writer: Writer,
    workers: Arc<Workers>,
    /// Tells the accept loops that no more is taken, and requests that nothing was sent of yet.
    stopping: watch::Sender<bool>,
    /// Tells the streams that they must end.
    ending: watch::Sender<bool>,
}

impl Server {
    /// Opens every address, to serve it with the tokio runtime that this must be called within.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        Self::bind_with(config, &mut Inherited::default(), Workers::default())
    }

    /// Opens every address for which no socket was handed over. Must be called within the tokio runtime of the first worker.
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

    /// The TCP addresses where clients are accepted, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, _)| socket.tcp_address()).collect()
    }

    /// Everything that is listened on.
    pub fn sockets(&self) -> impl Iterator<Item = &ListeningSocket> {
        self.listeners.iter().map(|(socket, _)| socket).chain(&self.admin)
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.tcp_address()
    }

    /// What changes the configuration while the server runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// What is open, now and later.
    pub fn counts(&self) -> Counts {
        Counts { live: self.shared.live.clone(), connections: self.metrics.connections_open() }
    }

    /// Serves until `stop` is ready, then lets what is open run to its end, for at most `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = Stop>) {
        // Heard before anybody can have a reason to send it: unheard, it would end the process.
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
        // A successor answers on the same sockets.
        if why == Stop::Ended && !drain_delay.is_zero() {
            tracing::info!(?drain_delay, "stopping soon: /readyz says so, and requests are still taken");
            tokio::time::sleep(drain_delay).await;
        }
        tracing::info!(?drain_timeout, "stopping: no new connections, open streams run on");
        // Nobody listens any more if every accept loop has ended already.
        let _ = self.stopping.send(true);
        if why == Stop::Replaced {
            // Whoever asks how the service is means the successor.
            let _ = admin_stopping.send(true);
        }
        if tokio::time::timeout(drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!("drain_timeout is over: ending the streams that are still open");
            // Every stream may have ended just now.
            let _ = self.ending.send(true);
            if tokio::time::timeout(LAST_WORDS, all_gone.recv()).await.is_err() {
                tracing::warn!("breaking the connections that are still open");
            }
        }
        let _ = admin_stopping.send(true);
        reopening.abort();
        // With all that they still serve.
        drop(self.workers);
        drop(self.shared);
        drop(self.reloader);
        // It blocks, and nothing else is left to do.
        let finished = tokio::task::spawn_blocking(move || self.log_writer.finish()).await;
        if let Err(error) = finished {
            tracing::error!(%error, "cannot wait for the access log");
        }
    }
}

/// `None` where the system's authorities can be read, or else a file without any, if no upstream needs one of them.
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

/// Opens the access log again at each SIGUSR1, as logrotate's users are used to. The signal is heard from this call on.
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
                tracing::error!(%error, "SIGUSR1 cannot be heard: the access log is never opened again");
            }
        }
    }
}
