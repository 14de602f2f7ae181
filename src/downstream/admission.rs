//! Which connections are taken: at most `max_connections`, and as many as there are descriptors; and what holds up the end of the
//! process.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use prometheus::{IntCounter, IntGauge};
use socket2::SockRef;
use tokio::sync::mpsc;

use crate::config::Listener;
use crate::net::{Socket, WorkerPlace, descriptors};

/// What a connection too many is told, where it need not shake hands first.
const OVERLOADED: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: application/json\r\n",
    "Content-Length: 108\r\n\r\n",
    r#"{"error":{"message":"Too many connections are open here.","type":"api_error","code":"too_many_connections"}}"#,
);

/// Counts the connections of all listeners.
pub struct Admission {
    open: IntGauge,
    refused: IntCounter,
    /// Some descriptors are not for these connections.
    keeps_descriptors: bool,
}

impl Admission {
    /// Of the connections of clients.
    pub fn of_clients(open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { open, refused, keeps_descriptors: true })
    }

    /// Of the connections to an app of our own, which take what is kept for it.
    pub fn of_own(open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { open, refused, keeps_descriptors: false })
    }

    /// Takes a connection if there are not too many. `place` and `alive` are held for as long as it is served.
    pub fn admit(
        self: &Arc<Self>,
        socket: &Socket,
        max: Option<NonZeroUsize>,
        place: WorkerPlace,
        alive: mpsc::Sender<()>,
    ) -> Option<Arc<Admitted>> {
        self.open.inc();
        let admitted = Admitted { admission: self.clone(), _place: place, _alive: alive };
        let open = usize::try_from(self.open.get()).unwrap_or_default();
        let is_scarce = self.keeps_descriptors
            && !descriptors::is_left(socket.as_raw_fd(), descriptors::Wanted::ForClient);
        if is_scarce {
            descriptors::note_refused();
        }
        if is_scarce || max.is_some_and(|max| open > max.get()) {
            self.refused.inc();
            return None;
        }
        Some(Arc::new(admitted))
    }
}

/// A connection that was taken, and all of its streams.
pub struct Admitted {
    admission: Arc<Admission>,
    _place: WorkerPlace,
    _alive: mpsc::Sender<()>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.dec();
    }
}

/// Tells a client that its connection is one too many, as far as that can be told at once: nobody is waited for, because its
/// descriptor is needed.
pub fn refuse(socket: &Socket, listener: &Listener) {
    let socket = SockRef::from(socket);
    if listener.tls.is_none() {
        // It fits the socket's buffer.
        let _ = (&*socket).write(OVERLOADED.as_bytes());
        // A close with something unread would be a reset, and could overtake what was written.
        let mut unread = [0; 4096];
        while (&*socket).read(&mut unread).is_ok_and(|read| read == unread.len()) {}
    }
    let _ = socket.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::OVERLOADED;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = OVERLOADED.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
