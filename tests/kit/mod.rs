//! Building blocks of tests, fuzzers and benches: a scripted backend, a raw client that sees chunk
//! boundaries, and a sidestream between them. All ports are chosen by the kernel.
//!
//! Fuzzers and benches include only the files they need, by `#[path]`. So they do not depend on what only
//! tests need, such as certificates.

mod backend;
mod client;
pub mod configuration;
mod connection;
pub mod doctor;
mod driver;
mod exchange;
mod grpc;
mod http2;
pub mod keys;
mod log;
pub mod markdown;
mod matrix;
mod process;
mod sidestream;
mod socket;
mod steps;
pub mod strict;
mod tls;
mod wire;
mod within;

pub use backend::Backend;
pub use client::{Client, Response};
pub use connection::Connection;
pub use driver::drive;
pub use exchange::Exchange;
pub use grpc::{Call, GRPC, MESSAGE, finish};
pub use http2::{Http2Exchange, fields};
pub use log::log_lines;
pub use matrix::{Edge, EdgeClient, http2, http2_with_window};
pub use process::{Process, signal_to};
pub use sidestream::{Setup, Sidestream};
pub use socket::{Io, Unreachable, free_address};
pub use steps::{LAST_WORDS, Step, Transport};
pub use tls::Authority;
pub use wire::{
    LAST_CHUNK, STREAM_HEAD, SWITCHING, UPGRADE, chunk, first_chunk, head_length, stream_begun, stream_of,
};
pub use within::{GENEROUS, Within, stands_still, until};
