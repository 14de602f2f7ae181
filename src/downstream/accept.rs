//! The accept loop of a listener. It admits connections and hands them to workers; it does not serve them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::admission::{self, Admission};
use super::connection::{Http1Connection, Terms};
use super::listen::ListeningSocket;
use super::{App, poll_once};
use crate::config::{Limits, Listener};
use crate::net::{Socket, Workers, descriptors};

/// Pause after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub struct Accept<A> {
    pub socket: ListeningSocket,
    pub listener: Arc<ArcSwap<Listener>>,
    pub app: Arc<A>,
    /// Called for each connection, because a reload may change the limits.
    pub limits: Box<dyn Fn() -> Limits + Send + Sync>,
    pub admission: Arc<Admission>,
    /// The threads that serve the connections.
    pub workers: Arc<Workers>,
    /// Whether the process will stop soon. Each connection then closes after its current request, so that
    /// clients reconnect to the successor.
    pub is_leaving: Arc<AtomicBool>,
    /// Every connection holds a clone. The channel closes when the last connection is gone.
    pub alive: mpsc::Sender<()>,
}

impl<A: App> Accept<A> {
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        // The value that is set on the listening socket.
        let mut tcp_keepalive = None;
        loop {
            let wanted = self.listener.load().tcp_keepalive;
            if tcp_keepalive.replace(wanted) != Some(wanted) {
                self.socket.set_keepalive(wanted);
            }
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => break,
            };
            match accepted {
                Ok((socket, peer)) => self.serve(socket, peer, stopped.clone()),
                Err(error) => {
                    // A client that reset its connection in the backlog is no error.
                    if error.kind() == io::ErrorKind::ConnectionAborted {
                        continue;
                    }
                    if descriptors::is_exhausted(&error) {
                        descriptors::note_refused();
                    } else {
                        tracing::error!(%error, "cannot accept a connection");
                    }
                    // Without the pause, the loop would spin until a descriptor becomes free.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Connections in the backlog would be reset when the socket closes, so they are still served.
        while let Poll::Ready(Ok((socket, peer))) = poll_once(pin!(self.socket.accept())).await {
            self.serve(socket, peer, stopped.clone());
        }
    }

    fn serve(&self, socket: Socket, peer: Option<SocketAddr>, stopped: watch::Receiver<bool>) {
        let (app, listener, limits) = (self.app.clone(), self.listener.load_full(), (self.limits)());
        let place = self.workers.place();
        let worker = place.worker;
        match self.admission.admit(&socket, limits.max_connections, place, self.alive.clone()) {
            Some(admitted) => {
                let max_header_size = limits.max_header_size;
                let is_leaving = self.is_leaving.clone();
                let terms = Terms { listener, max_header_size, is_leaving, stopped, admitted };
                let peer = peer.map(|peer| peer.ip());
                let connection = Http1Connection { app, terms };
                self.workers.spawn(worker, socket, move |socket| connection.serve(socket, peer));
            }
            None => admission::refuse(&socket, &listener),
        }
    }
}
