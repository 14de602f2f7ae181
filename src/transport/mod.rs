//! Sockets, with what the relay needs to know about them.

mod client_stream;
pub mod descriptors;
mod downstream;
mod link;
mod proxy_header;
mod socket;
mod tls;
mod write_behind;

pub use client_stream::ClientStream;
pub use downstream::DownstreamSocket;
pub use link::Link;
pub use socket::Socket;
pub use tls::DownstreamTls;
pub use write_behind::{UpstreamLink, Wire, WriteBehind};
