//! Sockets as pingora sees them, with what the relay needs to know about them.

mod downstream;
mod write_behind;

pub use downstream::{DownstreamSocket, Link};
pub use write_behind::{UpstreamLink, WriteBehind};
