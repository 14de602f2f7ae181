//! The log on standard error, for people or for the journal of systemd.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::terminal::colours;

/// pingora and h2 log peers that disconnect or misbehave, so a peer could flood the log. The relevant cases
/// are in this program's log and metrics.
const LIBRARIES_LOG: &str = "pingora_core=error,pingora_core::protocols::http::v2::client=off,h2=error";

/// `filter` applies unless `RUST_LOG` is set.
pub fn start_logging(filter: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{LIBRARIES_LOG},{filter}")));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours())
        .with_writer(std::io::stderr)
        // Internal errors would also go to standard error, and panic if it is closed.
        .log_internal_errors(false);
    if is_journal() {
        log.event_format(JournalFormat(Format::default().without_time())).init();
    } else {
        log.init();
    }
}

/// Whether standard error is a stream of the journal: `JOURNAL_STREAM` has its device and inode (systemd.exec(5)).
fn is_journal() -> bool {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    match (std::env::var("JOURNAL_STREAM"), stderr.and_then(|stderr| stderr.metadata())) {
        (Ok(stream), Ok(stderr)) => stream == format!("{}:{}", stderr.dev(), stderr.ino()),
        _ => false,
    }
}

/// Puts the priority of the event before each line (sd-daemon(3)), and leaves out the time, which the journal records.
struct JournalFormat(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        text.lines().try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
    }
}

/// The level of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
