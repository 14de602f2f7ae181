//! Metrics, the records of running requests, and the access log.

mod access_log;
mod gathered;
mod log_line;
pub mod metrics;
mod record;

pub use access_log::{AccessLog, Writer};
pub use gathered::Gathered;
pub use log_line::{LogLine, clipped};
pub use record::{LiveEntry, LiveStreams, Record};
