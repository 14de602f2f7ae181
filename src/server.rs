//! The running process: listeners, connections, and the way to its end.
//!
//! The accept loops are ours and not pingora's: theirs retries a port in use for 30 s and then panics, has no deadline
//! for a whole request head, and drains by sleeping for a fixed time.

mod connection;
pub mod reply;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::access_log::{AccessLog, Writer};
use crate::admin::{Admin, Readiness};
use crate::config::{self, Config, Listener};
use crate::metrics::Metrics;
use crate::proxy::{EndOfAll, FrontDoor, RunningRoute};
use crate::streams::LiveStreams;
use crate::upstream::Upstream;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long clients may take to read why their streams have ended, when `drain_timeout` is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{key}: cannot listen on {address}: {error}\n  {}", remedy(.address, .error))]
    Listen { key: String, address: SocketAddr, error: io::Error },
    #[error(
        "access_log.path: cannot write to {path}: {error}\n  create its folder, and let this user write there"
    )]
    AccessLog { path: String, error: io::Error },
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn remedy(address: &SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there (`ss -ltnp sport = :{port}` shows which): stop it, or choose another port"
        ),
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use one of its own, or 0.0.0.0 for all".to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

/// A server whose sockets are bound and which has not accepted anything yet.
pub struct Server {
    listeners: Vec<(TcpListener, Listener)>,
    admin: Option<TcpListener>,
    front_door: FrontDoor,
    upstreams: Vec<Arc<Upstream>>,
    metrics: Arc<Metrics>,
    live: Arc<LiveStreams>,
    log: AccessLog,
    log_writer: Writer,
    /// Tells the streams that they must end.
    ending: watch::Sender<bool>,
    drain_timeout: Duration,
}

impl Server {
    /// Binds every address. Must be called within a tokio runtime.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(&config.metrics)?);
        let mut listeners = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let socket = listen(listener.address, || format!("listeners[{index}].address"))?;
            listeners.push((socket, listener.clone()));
        }
        let admin = config.admin.map(|address| listen(address, || "admin.address".to_owned())).transpose()?;
        let (log, log_writer) = AccessLog::open(&config.access_log, metrics.access_log_dropped())
            .map_err(|error| StartError::AccessLog { path: config.access_log.to_string(), error })?;
        let live = Arc::new(LiveStreams::default());
        let upstreams = upstreams(config, &metrics);
        let routes = routes(config, &metrics, &upstreams);
        let unrouted = metrics.requests("none");
        let (ending, is_ending) = watch::channel(false);
        let (limits, end_of_all) = (config.limits.clone(), EndOfAll::new(is_ending));
        let front_door = FrontDoor::new(routes, unrouted, limits, live.clone(), log.clone(), end_of_all);
        let drain_timeout = config.server.drain_timeout;
        Ok(Self {
            listeners,
            admin,
            front_door,
            upstreams,
            metrics,
            live,
            log,
            log_writer,
            ending,
            drain_timeout,
        })
    }

    /// Where clients are accepted, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, _)| socket.local_addr().ok()).collect()
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop` is ready, then lets what is open run to its end, for at most `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        // Heard before anybody can have a reason to send it: unheard, it would end the process.
        let reopening = tokio::spawn(reopen_on_signal(self.log));
        // pingora's own settings: only its stock path for upgrades reads them.
        let mut proxy = HttpProxy::new(self.front_door, Arc::new(ServerConf::default()));
        proxy.handle_init_modules();
        let proxy = Arc::new(proxy);
        let (stopping, stopped) = watch::channel(false);
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        for (socket, listener) in self.listeners {
            let accept = Accept { socket, listener, app: proxy.clone(), alive: alive.clone() };
            tokio::spawn(accept.run(stopped.clone()));
        }
        let (admin_stopping, admin_stopped) = watch::channel(false);
        let is_draining = Arc::new(AtomicBool::new(false));
        if let Some(socket) = self.admin {
            let readiness = Readiness::new(is_draining.clone(), self.upstreams);
            let admin = Admin::new(self.metrics.clone(), self.live, readiness);
            tokio::spawn(serve_own(socket, admin, admin_stopped));
        }
        drop(alive);

        stop.await;
        tracing::info!(drain_timeout = ?self.drain_timeout, "stopping: no new connections, open streams run on");
        is_draining.store(true, Ordering::Relaxed);
        // Nobody listens any more if every accept loop has ended already.
        let _ = stopping.send(true);
        proxy.http_cleanup().await;
        if tokio::time::timeout(self.drain_timeout, all_gone.recv()).await.is_err() {
            tracing::warn!("drain_timeout is over: ending the streams that are still open");
            // Every stream may have ended just now.
            let _ = self.ending.send(true);
            if tokio::time::timeout(LAST_WORDS, all_gone.recv()).await.is_err() {
                tracing::warn!("breaking the connections that are still open");
            }
        }
        let _ = admin_stopping.send(true);
        reopening.abort();
        drop(proxy);
        // It blocks, and nothing else is left to do.
        let finished = tokio::task::spawn_blocking(move || self.log_writer.finish()).await;
        if let Err(error) = finished {
            tracing::error!(%error, "cannot wait for the access log");
        }
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

fn listen(address: SocketAddr, key: impl FnOnce() -> String) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| StartError::Listen { key: key(), address, error })
}

fn upstreams(config: &Config, metrics: &Metrics) -> Vec<Arc<Upstream>> {
    let upstream = |upstream: &Arc<config::Upstream>| {
        Arc::new(Upstream::new(upstream.clone(), metrics.upstream_connect(&upstream.name)))
    };
    config.upstreams.iter().map(upstream).collect()
}

fn routes(config: &Config, metrics: &Metrics, upstreams: &[Arc<Upstream>]) -> Vec<Arc<RunningRoute>> {
    let running = |route: &Arc<config::Route>| {
        let upstream = upstreams.iter().find(|u| u.config().name == route.upstream.name)?;
        let (upstream, metrics) = (upstream.clone(), metrics.route(&route.name));
        let server = upstream.config().server.to_string();
        let names = [route.name.as_str(), &route.upstream.name, &server].map(Arc::from);
        Some(Arc::new(RunningRoute { names, config: route.clone(), upstream, metrics }))
    };
    config.routes.iter().filter_map(running).collect()
}

/// Serves an app of our own until `stopped` is true. Its connections keep nobody waiting.
pub async fn serve_own<A>(socket: TcpListener, app: A, stopped: watch::Receiver<bool>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let (alive, _) = mpsc::channel(1);
    let accept = Accept { socket, listener: connection::own_listener(), app: Arc::new(app), alive };
    accept.run(stopped).await;
}

/// An accept loop.
struct Accept<A> {
    socket: TcpListener,
    listener: Listener,
    app: Arc<A>,
    /// Held by every connection; the channel closes when the last one is gone.
    alive: mpsc::Sender<()>,
}

impl<A: HttpServerApp + Send + Sync + 'static> Accept<A> {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok((tcp, _)) => self.serve(tcp, stopped.clone()),
                Err(error) => {
                    // A client that left while it waited is nothing; without descriptors this would spin.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        tracing::error!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn serve(&self, tcp: TcpStream, stopped: watch::Receiver<bool>) {
        let (app, listener, alive) = (self.app.clone(), self.listener.clone(), self.alive.clone());
        tokio::spawn(async move {
            connection::serve(app, tcp, &listener, &stopped).await;
            drop(alive);
        });
    }
}
