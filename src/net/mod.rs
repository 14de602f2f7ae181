//! What both ends stand on: sockets of either family, and the descriptors that are left for them.

pub mod descriptors;
mod socket;

pub use socket::Socket;
