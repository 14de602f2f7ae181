//! The process: signals, reload, notifications to systemd, and upgrades.

mod front_door;
mod reload;
mod server;
mod signals;
mod systemd;
mod upgrade;

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
pub use crate::downstream::{Inherited, ListeningSocket};
use crate::net::{Workers, descriptors};
pub use reload::Reloader;
pub use server::{Counts, Server, StartError, Stop};
use signals::{Signal, Signals};
use systemd::Notifier;
use upgrade::Handover;
pub use upgrade::start_successor;

/// Loads the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Serves until a signal stops the process and the last stream has ended. Must be called within a tokio
/// runtime, on its only thread, which is the first worker.
///
/// `reread`: loads the configuration on SIGHUP. If it is `None`, SIGHUP stops the process.
pub async fn run(config: &Config, reread: Option<Reread>) -> Result<(), StartError> {
    // Installed first: without a handler, these signals terminate the process.
    let signals = Signals::listen().map_err(StartError::Signals)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(descriptors, "raised the limit of file descriptors");
    let mut inherited = Inherited::from_environment().map_err(StartError::Inherit)?;
    let workers = Workers::start(threads(config)).map_err(StartError::Workers)?;
    let server = Server::bind_with(config, &mut inherited, workers)?;
    for socket in inherited.rest() {
        tracing::warn!(%socket, "closing an inherited socket whose address is not in the configuration");
    }
    drop(inherited);
    for address in server.sockets().filter_map(|socket| socket.address()) {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = server.admin_address() {
        tracing::info!("metrics at http://{address}/metrics");
    }
    let notifier = Notifier::start(server.counts());
    let operator = Operator {
        signals,
        reloader: server.reloader(),
        reread: reread.map(Arc::new),
        handover: Handover::of(&server),
        notifier: notifier.clone(),
    };
    notifier.ready();
    upgrade::take_over();
    server.run(operator.until_stopped()).await;
    Ok(())
}

/// The number of worker threads: one per core unless configured.
fn threads(config: &Config) -> NonZeroUsize {
    // One, if the number of cores is unknown.
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    config.server.threads.unwrap_or_else(cores)
}

/// Resolves at the first signal that stops the process. Handlers are installed by this call. A second SIGTERM
/// or SIGINT ends the process immediately. For processes that support neither reload nor upgrade.
pub fn told_to_stop() -> impl Future<Output = Stop> {
    let signals = Signals::listen();
    async move {
        let Ok(mut signals) = signals else {
            // Without handlers, the default action terminates the process.
            return std::future::pending().await;
        };
        signals.next().await;
        signals.exit_on_second_stop();
        Stop::Ended
    }
}

/// Handles signals.
struct Operator {
    signals: Signals,
    reloader: Reloader,
    reread: Option<Arc<Reread>>,
    handover: Arc<Handover>,
    notifier: Notifier,
}

impl Operator {
    /// Resolves when the process must stop.
    async fn until_stopped(mut self) -> Stop {
        loop {
            match (self.signals.next().await, self.reread.clone(), self.handover.running()) {
                (Signal::Reload, Some(reread), _) => self.reload(reread).await,
                (Signal::Upgrade, ..) => self.handover.start().await,
                (Signal::Replaced, _, Some(successor)) => {
                    self.notifier.hand_over(successor);
                    self.signals.exit_on_second_stop();
                    return Stop::Replaced;
                }
                // Without a configuration file or a successor, SIGHUP and SIGQUIT stop the process.
                (Signal::Stop | Signal::Reload | Signal::Replaced, ..) => {
                    self.notifier.stopping();
                    self.signals.exit_on_second_stop();
                    return Stop::Ended;
                }
            }
        }
    }

    async fn reload(&self, reread: Arc<Reread>) {
        self.notifier.reloading();
        // Loading reads files and checks certificates, which blocks.
        match tokio::task::spawn_blocking(move || reread()).await {
            Ok(Ok(config)) => {
                let needs_restart = self.reloader.apply(&config);
                tracing::info!("the configuration was read again and applies to new requests");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(
                        keys,
                        "these have changed as well, but need a restart or an upgrade (SIGUSR2)"
                    );
                }
            }
            Ok(Err(mistakes)) => {
                tracing::error!(
                    "the configuration has mistakes, so the running one stays in effect\nerror: {mistakes}"
                );
            }
            Err(error) => tracing::error!(%error, "reading the configuration again failed"),
        }
        self.notifier.ready();
    }
}
