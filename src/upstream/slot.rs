//! A stream's place on a server.

use std::sync::Arc;
use std::time::Instant;

use super::Upstream;
use super::balance::MemberId;
use super::server::UpstreamServer;

/// Counts a stream from the choice of its server to the end of the exchange with it, however that comes.
pub struct Slot {
    upstream: Arc<Upstream>,
    server: Arc<UpstreamServer>,
    seat: Seat,
    since: Instant,
}

/// Which server an exchange is with, also when that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub server: MemberId,
    /// It tries out an ejected server.
    pub is_trial: bool,
}

impl Slot {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        server: Arc<UpstreamServer>,
        seat: Seat,
        since: Instant,
    ) -> Self {
        Self { upstream, server, seat, since }
    }

    pub fn server(&self) -> &Arc<UpstreamServer> {
        &self.server
    }

    pub fn seat(&self) -> Seat {
        self.seat
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.upstream.release(self.seat, self.since);
    }
}
