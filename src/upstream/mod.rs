//! Backends: the servers of an upstream, which of them a request gets, and the connections to them.

mod addresses;
mod affinity;
mod balance;
mod budget;
mod connection;
mod connector;
mod error;
mod group;
#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod group_tests;
mod health;
mod http1;
mod http2;
#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod name_tests;
mod news;
mod pool;
mod queue;
mod race;
mod resolve;
mod server;
mod servers;
mod single;
mod slot;
mod sources;
mod standing;
mod write_behind;

pub use crate::net::pingora::NO_AUTHORITIES;
pub use affinity::hash;
pub use balance::{GroupMember, Needs};
pub use connection::{BodyProgress, Connection, HeadError};
pub use connector::{AuthoritiesError, Connector, system_authorities};
pub use error::ConnectError;
pub use group::{Refusal, ServerVerdict};
pub use http1::Http1Exchange;
pub use server::{UpstreamServer, Use};
pub use servers::{Placement, QueuePlace, Upstream};
pub use single::{SingleServerError, single_server};
pub use slot::{Seat, Slot};
