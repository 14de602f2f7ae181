//! Connections to a backend: found in the pool or opened, and given back.

mod addresses;
mod connection;
mod connector;
mod error;
mod http1;
mod http2;
mod pool;
mod race;
mod resolve;
mod server;
mod write_behind;

pub use crate::net::pingora::NO_AUTHORITIES;
pub use connection::{BodyProgress, Connection, HeadError};
pub use connector::{AuthoritiesError, Connector, system_authorities};
pub use error::ConnectError;
pub use http1::Http1Exchange;
pub use server::{Upstream, Use};
