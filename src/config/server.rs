//! The process: the `server` section.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::key::Entry::Value as Scalar;
use super::key::{Key, Section, key};
use super::keys::Keys;
use super::values::{DURATION, DURATION_OR_ZERO, LOG_FILTER, THREADS};

pub static SERVER: Section = Section {
    example: "{ threads: 4, drain_timeout: 10m }",
    ..Section::new(
        "server",
        "0.1.0",
        "The process.",
        &[Scalar(&THREADS_KEY.row), Scalar(&DRAIN_DELAY.row), Scalar(&DRAIN_TIMEOUT.row), Scalar(&LOG.row)],
    )
};

pub static THREADS_KEY: Key<Option<NonZeroUsize>> =
    key("threads", "0.1.0", THREADS, "auto", "Worker threads. `auto` is one per core.").example("4");

pub static DRAIN_DELAY: Key<Duration> = key(
    "drain_delay",
    "0.1.0",
    DURATION_OR_ZERO,
    "0s",
    "How long requests are still accepted after SIGTERM, while `/readyz` fails.",
)
.example("5s");

pub static DRAIN_TIMEOUT: Key<Duration> = key(
    "drain_timeout",
    "0.1.0",
    DURATION,
    "5m",
    "How long open streams may continue after `drain_delay`. Then they end with the error `shutting_down`.",
);

pub static LOG: Key<String> = key(
    "log",
    "0.1.0",
    LOG_FILTER,
    "info",
    "The log on standard error: `error`, `warn`, `info`, `debug`, or levels for parts of the program. `RUST_LOG` overrides it.",
);

/// The process.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Worker threads; `None` is one per core.
    pub threads: Option<NonZeroUsize>,
    /// How long requests are still accepted after SIGTERM, while `/readyz` fails. It can be zero.
    pub drain_delay: Duration,
    /// How long open streams may continue after that.
    pub drain_timeout: Duration,
    /// What is logged to standard error, in the syntax of `RUST_LOG`, which overrides it.
    pub log: String,
}

/// Reads `server`.
pub fn server(mut keys: Keys) -> ProcessConfig {
    let config = ProcessConfig {
        threads: keys.get(&THREADS_KEY),
        drain_delay: keys.get(&DRAIN_DELAY),
        drain_timeout: keys.get(&DRAIN_TIMEOUT),
        log: keys.get(&LOG),
    };
    keys.finish();
    config
}
