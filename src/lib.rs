//! sidestream: a sidecar that makes the event streams of an unmodified LLM backend correct.
//!
//! The binary is a thin command line over this library; tests and benches use it directly.

mod access_log;
mod admin;
pub mod config;
pub mod content_coding;
pub mod demo;
mod downstream;
pub mod http1;
pub mod metrics;
pub mod outcome;
pub mod proxy;
pub mod server;
pub mod service;
pub mod session;
mod streams;
mod transport;
mod upstream;
mod websocket;
