//! When a peer is taken for gone that vanished without a word: its machine died, or the network between.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How a connection of TCP is watched while nothing comes over it (RFC 9293, 3.8.4; tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe. The kernel counts in whole seconds.
    pub idle: Duration,
    /// How long what was sent may stay unacknowledged, and how long a peer may take none of what is to be sent
    /// (TCP_USER_TIMEOUT); zero leaves it to the kernel, which waits for about 15 minutes.
    pub user_timeout: Duration,
}

impl Keepalive {
    /// Probes without an answer before the peer is gone.
    pub const PROBES: u32 = 3;

    /// The first probe goes out after `idle`, and the others in a third of that time each.
    pub fn after(idle: Duration) -> Self {
        let idle = Duration::from_secs(idle.as_secs() + u64::from(idle.subsec_nanos() > 0)).max(SECOND);
        let keepalive = Self { idle, user_timeout: Duration::ZERO };
        Self { user_timeout: idle + keepalive.interval() * Self::PROBES, ..keepalive }
    }

    /// From one probe to the next.
    pub fn interval(&self) -> Duration {
        Duration::from_secs((self.idle.as_secs() / u64::from(Self::PROBES)).max(1))
    }

    /// Watches a connection, or all that a listening socket will accept (they inherit it). What a socket does not know stays as it
    /// is: unix sockets need none of it.
    pub fn apply(&self, socket: &SockRef<'_>) {
        let keepalive = TcpKeepalive::new()
            .with_time(self.idle)
            .with_interval(self.interval())
            .with_retries(Self::PROBES);
        let _ = socket.set_tcp_keepalive(&keepalive);
        set_user_timeout(socket, self.user_timeout);
    }

    /// Watches connections no more.
    pub fn lift(socket: &SockRef<'_>) {
        let _ = socket.set_keepalive(false);
        set_user_timeout(socket, Duration::ZERO);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// `limit`: zero leaves it to the kernel.
pub fn set_user_timeout(socket: &SockRef<'_>, limit: Duration) {
    let _ = socket.set_tcp_user_timeout(Some(limit).filter(|limit| !limit.is_zero()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_gone_after_three_probes() {
        let seconds = |seconds| Duration::from_secs(seconds);
        for (idle, interval, user_timeout) in [(15, 5, 30), (1, 1, 4), (60, 20, 120)] {
            let keepalive = Keepalive::after(seconds(idle));
            assert_eq!(
                (keepalive.interval(), keepalive.user_timeout),
                (seconds(interval), seconds(user_timeout))
            );
        }
        assert_eq!(Keepalive::after(Duration::from_millis(1500)).idle, seconds(2));
    }
}
