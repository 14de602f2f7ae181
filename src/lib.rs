//! sidestream: a reverse proxy that makes the event streams of an unmodified LLM backend correct.
//!
//! The binary is a thin command line over this library. Tests and benchmarks call the library directly.

mod admin;
pub mod config;
pub mod content_coding;
pub mod demo;
pub mod doctor;
pub mod downstream;
pub mod exchange;
mod headers;
pub mod http1;
mod net;
pub mod outcome;
pub mod process;
mod routing;
pub mod session;
pub mod telemetry;
mod upstream;
