//! Admission of client connections: at most `max_connections`, and only while enough descriptors are free. An
//! admitted connection keeps the process from exiting until it ends.

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

/// The response to a rejected connection without TLS.
const OVERLOADED: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: application/json\r\n",
    "Content-Length: 108\r\n\r\n",
    r#"{"error":{"message":"Too many connections are open here.","type":"api_error","code":"too_many_connections"}}"#,
);

/// Counts the connections of all listeners.
pub struct Admission {
    open: IntGauge,
    refused: IntCounter,
    /// Whether admission leaves the reserved descriptors free.
    keeps_descriptors: bool,
}

impl Admission {
    /// For client connections.
    pub fn of_clients(open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { open, refused, keeps_descriptors: true })
    }

    /// For connections to internal apps, which may use the reserved descriptors.
    pub fn of_own(open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { open, refused, keeps_descriptors: false })
    }

    /// Admits a connection unless a limit is reached. `place` and `alive` are held while it is served.
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

/// An admitted connection. Its HTTP/2 streams share it.
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

/// Rejects a connection without waiting, because its descriptor is needed. Without TLS the client gets a 503
/// response; with TLS that would take a handshake, so the connection just closes.
pub fn refuse(socket: &Socket, listener: &Listener) {
    let socket = SockRef::from(socket);
    if listener.tls.is_none() {
        // The response fits into the send buffer of a new socket, so one write is enough.
        let _ = (&*socket).write(OVERLOADED.as_bytes());
        // Closing a socket with unread data sends a reset, which could overtake the response.
        let mut unread = [0; 4096];
        while (&*socket).read(&mut unread).is_ok_and(|read| read == unread.len()) {}
    }
    let _ = socket.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::OVERLOADED;

    #[test]
    fn the_content_length_of_the_refusal_is_right() {
        let (head, body) = OVERLOADED.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
