//! The side of the clients: one request after the other of a connection of HTTP/1.1, or of a stream of HTTP/2, as one [`Client`].

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

/// What answers the requests of a listener.
pub trait App: Send + Sync + 'static {
    /// A response that is under way. Ready with its client when all is over.
    type Relay: Future<Output = Box<Client>> + Send + Unpin;

    /// Answers the request that the client has sent. `stopped` becomes true when the process is on its way to its end.
    fn serve(
        &self,
        client: Box<Client>,
        stopped: &watch::Receiver<bool>,
    ) -> impl Future<Output = Served<Self::Relay>> + Send;

    /// Answers a request whose head is refused. The connection ends with it.
    fn refuse(&self, client: &mut Client, why: BadHead) -> impl Future<Output = ()> + Send;
}

/// What has become of a request.
pub enum Served<R> {
    Answered(Box<Client>),
    /// The response is under way, and goes on by itself.
    Relaying(R),
}
