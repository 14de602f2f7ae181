//! The network layer shared by the client and the backend side: sockets, keep-alive, the descriptor budget,
//! the worker threads and pingora. It knows no HTTP exchange.

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
