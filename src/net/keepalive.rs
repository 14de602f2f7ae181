//! Detection of peers that vanish without closing the connection, because the machine or the network failed.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// TCP keep-alive settings of a connection (RFC 9293, 3.8.4; tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe. The kernel counts in whole seconds.
    pub idle: Duration,
    /// How long sent data may stay unacknowledged, and how long the peer may advertise a zero window
    /// (TCP_USER_TIMEOUT). Zero means the kernel's default, about 15 minutes.
    pub user_timeout: Duration,
}

impl Keepalive {
    /// Unanswered probes after which the peer counts as gone.
    pub const PROBES: u32 = 3;

    /// Sends the first probe after `idle`, and further ones at a third of that interval.
    pub fn after(idle: Duration) -> Self {
        let idle = Duration::from_secs(idle.as_secs() + u64::from(idle.subsec_nanos() > 0)).max(SECOND);
        let keepalive = Self { idle, user_timeout: Duration::ZERO };
        Self { user_timeout: idle + keepalive.interval() * Self::PROBES, ..keepalive }
    }

    /// Time between two probes.
    pub fn interval(&self) -> Duration {
        Duration::from_secs((self.idle.as_secs() / u64::from(Self::PROBES)).max(1))
    }

    /// Enables keep-alive on a connection, or on a listening socket, whose accepted connections inherit it.
    /// Errors are ignored: Unix sockets do not have these options and do not need them.
    pub fn apply(&self, socket: &SockRef<'_>) {
        let keepalive = TcpKeepalive::new()
            .with_time(self.idle)
            .with_interval(self.interval())
            .with_retries(Self::PROBES);
        let _ = socket.set_tcp_keepalive(&keepalive);
        set_user_timeout(socket, self.user_timeout);
    }

    /// Disables keep-alive.
    pub fn lift(socket: &SockRef<'_>) {
        let _ = socket.set_keepalive(false);
        set_user_timeout(socket, Duration::ZERO);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Sets TCP_USER_TIMEOUT. A `limit` of zero restores the kernel's default.
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
