//! The client side: listening sockets, connections and their protocols. Each HTTP/1.1 request and each HTTP/2
//! stream becomes one [`Client`]. What a request is answered with is up to the [`App`].

mod accept;
mod admission;
mod client;
mod client_stream;
mod connection;
mod http1;
mod http2;
mod http2_body;
mod http2_connection;
mod link;
mod listen;
mod local_reply;
pub mod own_app;
mod proxy_protocol;
mod socket;
mod task;
mod tls;
mod trailers;
mod turns;
mod wire;
mod writing;

use std::future::Future;

use tokio::sync::watch;

pub use accept::Accept;
pub use admission::Admission;
pub use client::{Bounds, Client, ClientLost, poll_once};
pub use client_stream::ClientStream;
pub use http1::{Http1Client, Received};
pub use http2::Http2Client;
pub use link::Link;
pub use listen::{Inherited, ListeningSocket};
pub use local_reply::{LocalReply, send as send_reply};
pub use own_app::serve_own;
pub use socket::{DownstreamSocket, HTTP2_PREFACE};
pub use tls::DownstreamTls;
pub use trailers::TrailerCounts;
pub use turns::Turns;
pub use wire::ClientWire;

use crate::http1::BadHead;

/// Answers the requests of a listener.
pub trait App: Send + Sync + 'static {
    /// A response in progress. Resolves to its client when the exchange is over.
    type Relay: Future<Output = Box<Client>> + Send + Unpin;

    /// Answers the client's request. `stopped` becomes true when the process shuts down.
    fn serve(
        &self,
        client: Box<Client>,
        stopped: &watch::Receiver<bool>,
    ) -> impl Future<Output = Served<Self::Relay>> + Send;

    /// Answers a request whose head is rejected. The connection closes afterwards.
    fn refuse(&self, client: &mut Client, why: BadHead) -> impl Future<Output = ()> + Send;
}

/// The result of serving a request.
pub enum Served<R> {
    Answered(Box<Client>),
    /// The response is in progress and continues as a relay.
    Relaying(R),
}
