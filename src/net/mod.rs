//! What both ends stand on: sockets of either family, the descriptors that are left for them, and pingora.

pub mod descriptors;
mod endpoint;
mod keepalive;
pub mod pingora;
mod socket;
pub mod workers;

pub use endpoint::Endpoint;
pub use keepalive::{Keepalive, set_user_timeout};
pub use socket::Socket;
pub use workers::{PerWorker, WorkerPlace, Workers};
