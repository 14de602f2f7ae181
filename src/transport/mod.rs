//! Sockets, with what the relay needs to know about them.

pub mod descriptors;
mod downstream;
mod link;
mod proxy_header;
mod socket;
mod tls;
mod write_behind;

pub use downstream::{DownstreamSocket, HTTP2_PREFACE};
pub use link::Link;
pub use socket::Socket;
pub use tls::DownstreamTls;
pub use write_behind::{UpstreamLink, Wire, WriteBehind};
