//! The budget of file descriptors. Each connection uses one, so a proxied stream uses two.
//!
//! The kernel always assigns the lowest free number, so the number of a new descriptor is a lower bound for
//! how many are in use. The last descriptors are reserved. Some are for backend connections, which clients
//! that are already accepted need. The others are for the admin address: its health checks must not fail
//! under a high number of clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Minimum time between two warnings about a shortage.
const INTERVAL: Duration = Duration::from_secs(60);

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    ForClient,
    ForUpstream,
}

/// Raises the soft limit to the hard limit and returns the resulting limit. Most systems set the soft limit
/// to 1,024, for programs that cannot handle more (setrlimit(2)).
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If the system forbids it, the previous limit stays in effect.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    limit()
}

/// The soft limit. Read from the kernel once, after [`raise_limit`], because every connection needs it.
fn limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Whether the descriptor with this number may be used for this purpose.
pub fn is_left(number: RawFd, wanted: Wanted) -> bool {
    let limit = limit();
    let for_admin = (limit / 16).clamp(8, 32);
    let for_upstreams = (limit / 8).clamp(8, 64);
    let kept = match wanted {
        Wanted::ForClient => for_admin + for_upstreams,
        Wanted::ForUpstream => for_admin,
    };
    u64::try_from(number).is_ok_and(|number| number + kept < limit)
}

/// Whether another backend connection may be opened.
pub fn is_left_for_upstream() -> bool {
    // Duplicates stdin, which the standard library guarantees to be open, to learn the next free number.
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(next) => is_left(next.as_raw_fd(), Wanted::ForUpstream),
        Err(error) => !is_exhausted(&error),
    }
}

/// Whether the error means that descriptors ran out: EMFILE for this process or ENFILE for the whole system
/// (errno(3), Linux numbers).
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Records a connection refused for lack of descriptors. Logs a warning with the remedy at most once per
/// [`INTERVAL`].
pub fn note_refused() {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    static WARNED: Mutex<Option<Instant>> = Mutex::new(None);
    REFUSED.fetch_add(1, Ordering::Relaxed);
    let now = Instant::now();
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.is_some_and(|warned| now - warned < INTERVAL) {
        return;
    }
    *warned = Some(now);
    let (refused, limit) = (REFUSED.swap(0, Ordering::Relaxed), limit());
    tracing::warn!(
        refused,
        limit,
        "file descriptors are nearly used up; new clients get 503. A stream uses two. Raise `LimitNOFILE=` in the systemd \
         unit, or `ulimit -n` in the shell that starts sidestream (at most its hard limit, `ulimit -Hn`)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_reserved_for_backends_and_the_admin_address() {
        let limit = RawFd::try_from(limit()).unwrap_or(RawFd::MAX);
        assert!(is_left(10, Wanted::ForClient) && is_left(10, Wanted::ForUpstream));
        let near = limit - 10;
        assert!(!is_left(near, Wanted::ForClient) && !is_left(limit - 1, Wanted::ForUpstream));
        assert!(!is_left(-1, Wanted::ForClient));
    }
}
