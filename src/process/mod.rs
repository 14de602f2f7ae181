//! The process as its operators meet it: its signals, what it tells systemd, and its successor.

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

/// Reads the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>;

/// Serves until a signal says otherwise and the last stream has ended. Must be called within a tokio runtime, on its only
/// thread, which is the first worker.
///
/// `reread`: what SIGHUP does; `None`: there is nothing that could have changed, and SIGHUP ends the process as it ends others.
pub async fn run(config: &Config, reread: Option<Reread>) -> Result<(), StartError> {
    // Heard from now on: unheard, they would end the process.
    let signals = Signals::listen().map_err(StartError::Signals)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(descriptors, "the limit of descriptors is as high as it may be");
    let mut inherited = Inherited::from_environment().map_err(StartError::Inherit)?;
    let workers = Workers::start(threads(config)).map_err(StartError::Workers)?;
    let server = Server::bind_with(config, &mut inherited, workers)?;
    for socket in inherited.rest() {
        tracing::warn!(%socket, "a socket was handed over that the configuration does not name: it is closed");
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
    server.run(operator.until_told()).await;
    Ok(())
}

/// One for each core, if the configuration says nothing else.
fn threads(config: &Config) -> NonZeroUsize {
    // Where the number of cores cannot be learned, one is there.
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    config.server.threads.unwrap_or_else(cores)
}

/// Ready at any of the signals, which are heard from this call on. A second SIGTERM or SIGINT ends the process at once. For a
/// process that can neither be configured anew nor be replaced.
pub fn told_to_stop() -> impl Future<Output = Stop> {
    let signals = Signals::listen();
    async move {
        let Ok(mut signals) = signals else {
            // Without handlers the signals keep their default: they end the process.
            return std::future::pending().await;
        };
        signals.next().await;
        signals.end_at_the_second();
        Stop::Ended
    }
}

/// Does what signals ask for.
struct Operator {
    signals: Signals,
    reloader: Reloader,
    reread: Option<Arc<Reread>>,
    handover: Handover,
    notifier: Notifier,
}

impl Operator {
    /// Ready when the process is to stop.
    async fn until_told(mut self) -> Stop {
        loop {
            match (self.signals.next().await, self.reread.clone(), self.handover.running()) {
                (Signal::Reload, Some(reread), _) => self.reload(reread).await,
                (Signal::Upgrade, ..) => self.handover.start(),
                (Signal::Replaced, _, Some(successor)) => {
                    self.notifier.hand_over(successor);
                    self.signals.end_at_the_second();
                    return Stop::Replaced;
                }
                // The last two are what they are to other programs where there is no file, and no successor.
                (Signal::Stop | Signal::Reload | Signal::Replaced, ..) => {
                    self.notifier.stopping();
                    self.signals.end_at_the_second();
                    return Stop::Ended;
                }
            }
        }
    }

    async fn reload(&self, reread: Arc<Reread>) {
        self.notifier.reloading();
        // It reads files, and looks into certificates.
        match tokio::task::spawn_blocking(move || reread()).await {
            Ok(Ok(config)) => {
                let needs_restart = self.reloader.apply(&config);
                tracing::info!("the configuration was read again and holds for every new request");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(
                        keys,
                        "these have changed as well, which takes a restart or an upgrade (SIGUSR2)"
                    );
                }
            }
            Ok(Err(mistakes)) => {
                tracing::error!(
                    "the configuration has mistakes, so the one that runs stays as it is\nerror: {mistakes}"
                );
            }
            Err(error) => tracing::error!(%error, "the configuration could not be read again"),
        }
        self.notifier.ready();
    }
}
