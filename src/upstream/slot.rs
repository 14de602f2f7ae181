//! The slot of a stream on a server.

use std::sync::Arc;
use std::time::Instant;

use super::Upstream;
use super::balance::MemberId;
use super::server::UpstreamServer;

/// Counts a stream from the choice of its server to the end of the exchange. Freed on drop.
pub struct Slot {
    upstream: Arc<Upstream>,
    server: Arc<UpstreamServer>,
    seat: Seat,
    since: Instant,
}

/// Identifies the server of an exchange, also after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub server: MemberId,
    /// The exchange is the trial of an ejected server.
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
