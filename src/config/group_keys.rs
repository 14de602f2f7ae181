//! What happens when servers are full or fail: `queue`, `outlier_detection` and `failover`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::group::{FailoverOn, FailoverPolicy, OutlierPolicy, QueuePolicy, ServerConfig};
use super::key::Entry::Value as Scalar;
use super::key::{Key, Many, Section, key};
use super::keys::{Keys, did_you_mean};
use super::request_key::HEADER_OR_OFF;
use super::tree::Value;
use super::values::{
    COUNT, DURATION, DURATION_OR_OFF, PERCENTAGE, Parsed, Problem, QUEUE_SIZE, SIZE, ValueKind, Word, one_of,
    word,
};

pub static QUEUE: Section = Section {
    can_be_off: true,
    main_key: Some(&QUEUE_SIZE_KEY.row),
    example: "{ size: 100, timeout: 30s }",
    ..Section::new(
        "queue",
        "0.1.0",
        "Requests wait here while all servers carry `max_streams`. Beyond the queue the answer is 503.",
        &[Scalar(&QUEUE_SIZE_KEY.row), Scalar(&QUEUE_TIMEOUT.row), Scalar(&FAIRNESS.row)],
    )
};

pub static QUEUE_SIZE_KEY: Key<usize> = key(
    "size",
    "0.1.0",
    QUEUE_SIZE,
    "0",
    "Requests that wait at once. More than 0 needs `max_streams`. The other keys of the queue need this one.",
)
.example("100");

pub static QUEUE_TIMEOUT: Key<Duration> =
    key("timeout", "0.1.0", DURATION, "30s", "How long a request waits. After it the answer is 503.");

pub static FAIRNESS: Key<Option<String>> = key(
    "fairness",
    "0.1.0",
    HEADER_OR_OFF,
    "off",
    "`header:NAME`: requests with different values of this header take turns.",
)
.example("header:x-tenant");

pub static OUTLIER_DETECTION: Section = Section {
    can_be_off: true,
    example: "{ consecutive_failures: 3 }",
    ..Section::new(
        "outlier_detection",
        "0.1.0",
        "A server that fails several times in a row is ejected: it gets no requests for a time. `off` also stops the pauses of \
         servers that answer 429 or 503.",
        &[
            Scalar(&CONSECUTIVE_FAILURES.row),
            Scalar(&BASE_EJECTION_TIME.row),
            Scalar(&MAX_EJECTION_TIME.row),
            Scalar(&MAX_EJECTION_PERCENT.row),
        ],
    )
};

pub static CONSECUTIVE_FAILURES: Key<NonZeroU32> =
    key("consecutive_failures", "0.1.0", COUNT, "3", "Failures in a row after which a server is ejected.");

pub static BASE_EJECTION_TIME: Key<Duration> = key(
    "base_ejection_time",
    "0.1.0",
    DURATION,
    "10s",
    "How long the first ejection lasts. Each further one lasts twice as long as the last.",
);

pub static MAX_EJECTION_TIME: Key<Duration> = key(
    "max_ejection_time",
    "0.1.0",
    DURATION,
    "5m",
    "The longest ejection. Not below `base_ejection_time`.",
);

pub static MAX_EJECTION_PERCENT: Key<u32> = key(
    "max_ejection_percent",
    "0.1.0",
    PERCENTAGE,
    "50%",
    "The part of the servers that may be ejected at once, rounded up. The last server is never ejected.",
);

pub static FAILOVER: Section = Section {
    can_be_off: true,
    example: "{ on: [connect, 503], attempts: 2 }",
    ..Section::new(
        "failover",
        "0.1.0",
        "Another server is tried after an attempt that failed before any part of the answer was delivered.",
        &[
            Scalar(&ON.row),
            Scalar(&ATTEMPTS.row),
            Scalar(&FIRST_EVENT_TIMEOUT.row),
            Scalar(&MAX_BODY.row),
            Scalar(&BUDGET.row),
        ],
    )
};

pub static ON: Key<FailoverOn> = key(
    "on",
    "0.1.0",
    ValueKind { read: failover_on, ..word::<FailoverOn>() },
    "connect",
    "The failures after which another server is tried. `connect`: no connection. `429` and `503`: this status. `5xx`: any other \
     status from 500. `reset`: the connection broke before the answer. The last two may do the work twice.",
)
.many(Many::OneOrListOrNone)
.example("[connect, 503]");

pub static ATTEMPTS: Key<NonZeroU32> =
    key("attempts", "0.1.0", COUNT, "2", "Servers that are tried for a request, the first one included.");

pub static FIRST_EVENT_TIMEOUT: Key<Option<Duration>> = key(
    "first_event_timeout",
    "0.1.0",
    DURATION_OR_OFF,
    "off",
    "How long each attempt but the last waits for the response head.",
)
.example("30s");

pub static MAX_BODY: Key<usize> = key(
    "max_body",
    "0.1.0",
    SIZE,
    "1MiB",
    "The part of a request body that may have been sent to a server that fails. Of larger ones only `connect` allows another \
     attempt. With any failure but `connect`, this much is held in memory for each request until its answer begins.",
);

pub static BUDGET: Key<u32> = key(
    "budget",
    "0.1.0",
    PERCENTAGE,
    "20%",
    "Further attempts, as a part of the requests of the last 10s, and at least 3 unless it is `0%`. Attempts after `connect` do \
     not count.",
);

impl Word for FailoverOn {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("connect", Self::Connect),
            ("429", Self::TooManyRequests),
            ("503", Self::Unavailable),
            ("5xx", Self::ServerError),
            ("reset", Self::Reset),
        ]
    }
}

/// Reads `queue` for these servers; `None`: there are mistakes in them.
pub fn queue(mut keys: Keys, servers: Option<&[ServerConfig]>) -> QueuePolicy {
    let policy = QueuePolicy {
        size: keys.get(&QUEUE_SIZE_KEY),
        timeout: keys.get(&QUEUE_TIMEOUT),
        fairness: keys.get(&FAIRNESS),
    };
    let is_bounded = |server: &ServerConfig| server.max_streams.is_some();
    if policy.size > 0 && servers.is_some_and(|servers| !servers.iter().any(is_bounded)) {
        let problem = "there is nothing to wait for: no server has `max_streams`";
        let remedy = "add `max_streams:` to the upstream, or leave `queue` out";
        keys.report_at(QUEUE_SIZE_KEY.row.name, problem, remedy);
    }
    keys.finish();
    policy
}

/// Reads `outlier_detection`.
pub fn outlier_detection(mut keys: Keys) -> OutlierPolicy {
    let consecutive_failures = keys.get(&CONSECUTIVE_FAILURES);
    let base = keys.checked(&BASE_EJECTION_TIME);
    let max = keys.checked(&MAX_EJECTION_TIME);
    if base.zip(max).is_some_and(|(base, max)| base > max) {
        keys.report(
            "`base_ejection_time` is longer than `max_ejection_time`",
            &format!(
                "set both; the defaults are `{}` and `{}`",
                default(&BASE_EJECTION_TIME),
                default(&MAX_EJECTION_TIME)
            ),
        );
    }
    let max_ejection_percent = keys.get(&MAX_EJECTION_PERCENT);
    keys.finish();
    OutlierPolicy {
        consecutive_failures,
        base_ejection_time: base.unwrap_or_else(|| BASE_EJECTION_TIME.default()),
        max_ejection_time: max.unwrap_or_else(|| MAX_EJECTION_TIME.default()),
        max_ejection_percent,
    }
}

fn default<T>(key: &Key<T>) -> String {
    (key.kind.show)(&key.default())
}

/// Reads `failover`.
pub fn failover(mut keys: Keys) -> FailoverPolicy {
    let policy = FailoverPolicy {
        on: keys.list(&ON).unwrap_or_else(|| vec![ON.default()]),
        attempts: keys.get(&ATTEMPTS),
        first_event_timeout: keys.get(&FIRST_EVENT_TIMEOUT),
        max_body: keys.get(&MAX_BODY),
        budget_percent: keys.get(&BUDGET),
    };
    if policy.first_event_timeout.is_some() && policy.attempts == NonZeroU32::MIN {
        let problem = "there is no further attempt: `attempts` is 1";
        keys.report_at(FIRST_EVENT_TIMEOUT.row.name, problem, "write `attempts: 2`, or leave this out");
    }
    keys.finish();
    policy
}

/// An item of `failover.on`.
fn failover_on(value: &Value) -> Parsed<FailoverOn> {
    let text = value.text().unwrap_or_default().to_ascii_lowercase();
    one_of(value, FailoverOn::words(), &[]).map_err(|problem| {
        // The known status that looks most like another one is not what was meant.
        let remedy = match text.parse::<u16>() {
            Ok(500..=599) => Some("did you mean `5xx`?".to_owned()),
            Ok(_) => None,
            Err(_) => did_you_mean(&text, FailoverOn::words().iter().map(|(word, _)| *word)),
        };
        Problem { remedy: remedy.unwrap_or(problem.remedy), ..problem }
    })
}

impl FailoverPolicy {
    /// One attempt, whatever happens.
    pub(super) fn off() -> Self {
        Self { on: Vec::new(), attempts: NonZeroU32::MIN, ..Self::default() }
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Keys::defaults(&QUEUE, |keys| queue(keys, None))
    }
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Keys::defaults(&OUTLIER_DETECTION, outlier_detection)
    }
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        Keys::defaults(&FAILOVER, failover)
    }
}
