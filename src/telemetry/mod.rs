//! What is measured and remembered of requests: metrics, the record of each while it runs, and its line in the access log.

mod access_log;
mod gathered;
mod log_line;
pub mod metrics;
mod record;

pub use access_log::{AccessLog, Writer};
pub use gathered::Gathered;
pub use log_line::{LogLine, clipped};
pub use record::{LiveEntry, LiveStreams, Record};
