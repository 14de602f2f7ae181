//! The addresses of names: looked up once per name and interval, whoever asks, and never waited for longer than it takes.
//!
//! Look-ups are the system's own (getaddrinfo(3)), so /etc/hosts, search domains and NSS hold as they do for every other program. They
//! block, and may hang for as long as the resolver has patience: each name has a thread while it is looked up, that nobody waits for.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a look-up may take before it counts as failed: a resolver that lost one packet asks again after 5 s (resolv.conf(5)).
const LIMIT: Duration = Duration::from_secs(10);

/// From then on a look-up that fails has found no server that answers: the system's resolver gives up after about [`LIMIT`] itself, and
/// which of the two is first is chance.
const NEARLY: Duration = Duration::from_secs(9);

/// How soon a name is looked up again that could not be, or at whose addresses nobody is, if its interval is longer.
const RETRY: Duration = Duration::from_secs(1);

/// Why the addresses of a name are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("{0}")]
    Failed(String),
    #[error("it has no address")]
    NoAddress,
    #[error("no answer within {LIMIT:?}")]
    TimedOut,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// Of the last look-up that found any; their ports are 0.
    pub addresses: Arc<[SocketAddr]>,
    /// Why the last one found none.
    pub error: Option<LookupError>,
}

/// The names that are in use.
#[derive(Default)]
pub struct Resolver(Mutex<HashMap<(String, Duration), Weak<Name>>>);

impl Resolver {
    /// The name, which from now on is looked up once per `interval` for as long as somebody holds it. What is known of it with another
    /// interval is known from the start. Must be called within a tokio runtime.
    pub fn name(&self, host: &str, interval: Duration) -> Arc<Name> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, name| name.strong_count() > 0);
        let key = (host.to_owned(), interval);
        if let Some(name) = names.get(&key).and_then(Weak::upgrade) {
            return name;
        }
        let others = names.iter().filter(|((other, _), _)| other == host);
        let mut known = others.filter_map(|(_, name)| Some(name.upgrade()?.known()));
        let known = known.find(|known| !known.is_empty()).unwrap_or_default();
        let name = Arc::new(Name::new(host.to_owned(), interval, known));
        names.insert(key, Arc::downgrade(&name));
        name
    }
}

/// A name that is looked up again and again.
pub struct Name {
    lookups: watch::Receiver<Lookup>,
    doubted: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Name {
    fn new(host: String, interval: Duration, known: Arc<[SocketAddr]>) -> Self {
        let (sender, lookups) = watch::channel(Lookup { addresses: known, error: None });
        let doubted = Arc::new(Notify::new());
        let task = tokio::spawn(keep_looking_up(host, interval, sender, doubted.clone()));
        Self { lookups, doubted, task }
    }

    /// Has the name looked up soon, because nobody is at its addresses.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// What is known now, and with [`watch::Receiver::changed`] what came of each look-up.
    pub fn lookups(&self) -> watch::Receiver<Lookup> {
        self.lookups.clone()
    }

    /// The addresses that it was last found to have.
    fn known(&self) -> Arc<[SocketAddr]> {
        self.lookups.borrow().addresses.clone()
    }

    /// The addresses as far as they are known. Waits for the first look-up only.
    pub async fn addresses(&self) -> Result<Arc<[SocketAddr]>, LookupError> {
        let mut lookups = self.lookups.clone();
        let known = lookups.wait_for(|lookup| !lookup.addresses.is_empty() || lookup.error.is_some()).await;
        let Ok(known) = known else { return Err(LookupError::NoAddress) };
        match &known.error {
            Some(error) if known.addresses.is_empty() => Err(error.clone()),
            _ => Ok(known.addresses.clone()),
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_looking_up(
    host: String,
    interval: Duration,
    lookups: watch::Sender<Lookup>,
    doubted: Arc<Notify>,
) {
    loop {
        let (mut running, began) = (start(&host), Instant::now());
        let found = match timeout(LIMIT, &mut running).await {
            Ok(found) => found,
            Err(_) => {
                note(&host, Err(LookupError::TimedOut), &lookups);
                // One at a time: what comes of it holds, however late.
                running.await
            }
        };
        // A thread that could not be started has said nothing.
        let found = found.unwrap_or_else(|_| Err(LookupError::Failed("no thread for it".to_owned())));
        let found =
            found.map_err(|error| if began.elapsed() < NEARLY { error } else { LookupError::TimedOut });
        let is_known = found.is_ok();
        note(&host, found, &lookups);
        let soon = interval.min(RETRY);
        sleep(soon).await;
        if is_known {
            // Either way, what is found next is newer than any doubt.
            let _ = timeout(interval - soon, doubted.notified()).await;
        }
    }
}

/// Looks a name up, in a thread that holds up nobody: neither who asks nor the end of the process.
fn start(host: &str) -> oneshot::Receiver<Result<Vec<SocketAddr>, LookupError>> {
    let (found, running) = oneshot::channel();
    let host = host.to_owned();
    let thread = std::thread::Builder::new().name("lookup".to_owned());
    // One that does not start drops the sender.
    let _ = thread.spawn(move || {
        // Nobody may wait for it any more.
        let _ = found.send(look_up(&host));
    });
    running
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let found = (host, 0).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| LookupError::Failed(reason(&error)))?.collect();
    if addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(addresses) }
}

/// What the resolver says, without what the standard library puts before it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// Takes what came of a look-up. What changes is said once.
fn note(host: &str, found: Result<Vec<SocketAddr>, LookupError>, lookups: &watch::Sender<Lookup>) {
    lookups.send_modify(|lookup| match found {
        Ok(addresses) => {
            if lookup.error.take().is_some() {
                tracing::info!(host, "the name can be looked up again");
            }
            let is_same = lookup.addresses.len() == addresses.len()
                && addresses.iter().all(|address| lookup.addresses.contains(address));
            if !is_same && !lookup.addresses.is_empty() {
                tracing::info!(host, before = ?ips(&lookup.addresses), now = ?ips(&addresses), "the addresses of the name have changed");
            }
            lookup.addresses = addresses.into();
        }
        Err(error) => {
            match (&lookup.error, ips(&lookup.addresses)) {
                (Some(_), _) => {}
                (None, stays) if stays.is_empty() => tracing::warn!(
                    host,
                    %error,
                    "the name of a server cannot be looked up, and requests to it fail until it can: correct `servers`, or look at \
                     /etc/hosts and /etc/resolv.conf"
                ),
                (None, stays) => {
                    tracing::warn!(host, %error, ?stays, "the name cannot be looked up: what was found last holds");
                }
            }
            lookup.error = Some(error);
        }
    });
}

fn ips(addresses: &[SocketAddr]) -> Vec<std::net::IpAddr> {
    addresses.iter().map(SocketAddr::ip).collect()
}
