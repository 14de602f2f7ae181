//! Name resolution: one look-up per name and interval, shared by all users of the name. Requests wait for the
//! first look-up only.
//!
//! Look-ups use the system's resolver (getaddrinfo(3)), so /etc/hosts, search domains and NSS apply as for
//! every other program. getaddrinfo blocks, and may hang until the resolver's timeout. Each look-up therefore
//! runs in a thread that is never joined.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The timeout of a look-up. A resolver that lost one packet retries after 5 s (resolv.conf(5)).
const LIMIT: Duration = Duration::from_secs(10);

/// A look-up that fails after this time counts as timed out. The system's resolver also gives up at about
/// [`LIMIT`], and either of the two may come first.
const NEARLY: Duration = Duration::from_secs(9);

/// The pause before a name is looked up again after a failed look-up, or after connecting to its addresses
/// failed. The interval applies if it is shorter.
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

/// The result of the look-ups of a name so far.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The addresses found by the last successful look-up, with port 0.
    pub addresses: Arc<[SocketAddr]>,
    /// Why the last look-up failed, if it did.
    pub error: Option<LookupError>,
}

/// The names in use.
#[derive(Default)]
pub struct Resolver(Mutex<HashMap<(String, Duration), Weak<Name>>>);

impl Resolver {
    /// Returns the name, which is looked up once per `interval` until the last handle is dropped. Starts with
    /// the addresses found under another interval, if any. Must be called within a tokio runtime.
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

/// A name that is looked up at an interval.
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

    /// Requests an early look-up, because connecting to the addresses failed.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// The current result. [`watch::Receiver::changed`] reports each later look-up.
    pub fn lookups(&self) -> watch::Receiver<Lookup> {
        self.lookups.clone()
    }

    /// The addresses found by the last successful look-up.
    fn known(&self) -> Arc<[SocketAddr]> {
        self.lookups.borrow().addresses.clone()
    }

    /// The known addresses. Waits for the first look-up only.
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
                // One look-up at a time. A late result is still used.
                running.await
            }
        };
        // The sender is dropped when no thread could be started.
        let found = found
            .unwrap_or_else(|_| Err(LookupError::Failed("cannot start a thread for the look-up".to_owned())));
        let found =
            found.map_err(|error| if began.elapsed() < NEARLY { error } else { LookupError::TimedOut });
        let is_known = found.is_ok();
        note(&host, found, &lookups);
        let soon = interval.min(RETRY);
        sleep(soon).await;
        if is_known {
            // In both cases, the next look-up starts after every doubt so far.
            let _ = timeout(interval - soon, doubted.notified()).await;
        }
    }
}

/// Looks up a name in a detached thread, which blocks neither the callers nor the end of the process.
fn start(host: &str) -> oneshot::Receiver<Result<Vec<SocketAddr>, LookupError>> {
    let (found, running) = oneshot::channel();
    let host = host.to_owned();
    let thread = std::thread::Builder::new().name("lookup".to_owned());
    // A thread that cannot be started drops the sender.
    let _ = thread.spawn(move || {
        // The receiver may be gone.
        let _ = found.send(look_up(&host));
    });
    running
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let found = (host, 0).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| LookupError::Failed(reason(&error)))?.collect();
    if addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(addresses) }
}

/// The message of the resolver, without the prefix of the standard library.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// Stores the result of a look-up. Logs changes only.
fn note(host: &str, found: Result<Vec<SocketAddr>, LookupError>, lookups: &watch::Sender<Lookup>) {
    lookups.send_modify(|lookup| match found {
        Ok(addresses) => {
            if lookup.error.take().is_some() {
                tracing::info!(host, "the look-up of the name succeeds again");
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
                    "the look-up of a server's name failed; requests to it fail until a look-up succeeds: check `servers`, /etc/hosts and \
                     /etc/resolv.conf"
                ),
                (None, stays) => {
                    tracing::warn!(host, %error, ?stays, "the look-up of the name failed: the addresses found last stay in use");
                }
            }
            lookup.error = Some(error);
        }
    });
}

fn ips(addresses: &[SocketAddr]) -> Vec<std::net::IpAddr> {
    addresses.iter().map(SocketAddr::ip).collect()
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    impl Resolver {
        /// A name that is not looked up: the test sends what a look-up would find. It lasts as long as the
        /// returned name.
        pub fn scripted(
            &self,
            host: &str,
            interval: Duration,
            addresses: &[SocketAddr],
        ) -> (Arc<Name>, watch::Sender<Lookup>) {
            let (sender, lookups) = watch::channel(Lookup { addresses: addresses.into(), error: None });
            let task = tokio::spawn(std::future::pending());
            let name = Arc::new(Name { lookups, doubted: Arc::default(), task });
            let key = (host.to_owned(), interval);
            self.0.lock().expect("no panic").insert(key, Arc::downgrade(&name));
            (name, sender)
        }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[tokio::test]
    async fn upstreams_with_the_same_name_and_interval_share_its_look_ups() {
        let resolver = Resolver::default();
        let hour = Duration::from_secs(3600);
        let (name, _) = resolver.scripted("two.test", hour, &addresses(&["192.0.2.1:0"]));
        assert!(Arc::ptr_eq(&resolver.name("two.test", hour), &name));
        let other = resolver.name("two.test", 2 * hour);
        assert!(!Arc::ptr_eq(&other, &name));
        assert_eq!(other.known(), name.known(), "known from the start");
    }

    #[test]
    fn a_look_up_that_fails_keeps_what_was_found_last() {
        let (lookups, seen) = watch::channel(Lookup::default());
        let [one, two] = [addresses(&["192.0.2.1:0"]), addresses(&["192.0.2.2:0", "192.0.2.1:0"])];
        let timed_out = Some(LookupError::TimedOut);
        for (found, known, error) in [
            (Err(LookupError::NoAddress), vec![], Some(LookupError::NoAddress)),
            (Ok(one.clone()), one.clone(), None),
            (Err(LookupError::TimedOut), one.clone(), timed_out.clone()),
            (Err(LookupError::TimedOut), one, timed_out),
            (Ok(two.clone()), two, None),
        ] {
            note("two.test", found, &lookups);
            let lookup = seen.borrow().clone();
            assert_eq!((&*lookup.addresses, lookup.error), (&*known, error));
        }
    }
}
