//! What is left of the descriptors that this process may have: each connection takes one, so a stream takes two.
//!
//! The kernel gives the lowest number that is free, so the number of a new descriptor says how many are taken at least. The last
//! ones are kept: for connections to backends, which the clients that are in already wait for, and for the admin address, whose
//! health checks must not fail because there are many clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How often it is said that there are too few.
const INTERVAL: Duration = Duration::from_secs(60);

/// Who wants a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    ForClient,
    ForUpstream,
}

/// Makes as many descriptors available as this process may have; returns how many those are. Most systems allow only 1,024 at
/// first, for programs that cannot handle more (setrlimit(2)).
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where that is forbidden, the limit is as it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    limit()
}

/// Asked of the kernel once, after it was [raised](raise_limit): each connection asks for it.
fn limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Whether a descriptor with this number may be used for that.
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

/// Whether a connection to a backend may be opened.
pub fn is_left_for_upstream() -> bool {
    // The standard library has seen to it that there is one.
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(next) => is_left(next.as_raw_fd(), Wanted::ForUpstream),
        Err(error) => !is_exhausted(&error),
    }
}

/// Whether it is descriptors that were missing: EMFILE, of this process, or ENFILE, of the whole system (errno(3), Linux numbers).
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Says that somebody was refused for want of descriptors, and what to do; once a minute, however many there are.
pub fn note_refused() {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    REFUSED.fetch_add(1, Ordering::Relaxed);
    let now = Instant::now();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_some_and(|said| now - said < INTERVAL) {
        return;
    }
    *said = Some(now);
    let (refused, limit) = (REFUSED.swap(0, Ordering::Relaxed), limit());
    tracing::warn!(
        refused,
        limit,
        "descriptors are nearly used up, and new clients are answered 503: a stream takes two. Raise `LimitNOFILE=` of the systemd \
         unit, or `ulimit -n` (its hard limit, `ulimit -Hn`, counts) where sidestream is started"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_for_backends_and_the_very_last_for_nobody_of_either() {
        let limit = RawFd::try_from(limit()).unwrap_or(RawFd::MAX);
        assert!(is_left(10, Wanted::ForClient) && is_left(10, Wanted::ForUpstream));
        let near = limit - 10;
        assert!(!is_left(near, Wanted::ForClient) && !is_left(limit - 1, Wanted::ForUpstream));
        assert!(!is_left(-1, Wanted::ForClient));
    }
}
