//! The servers of an upstream: who they are, which of them gets a request, and when one is left out.

use std::num::NonZeroU32;
use std::time::Duration;

use super::origin::Origin;

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub origin: Origin,
    /// Its share, beside the others'.
    pub weight: NonZeroU32,
    /// Streams that it carries at once; beyond them requests queue.
    pub max_streams: Option<NonZeroU32>,
    /// It gets requests only while no other server is up.
    pub is_backup: bool,
    /// How often the addresses of its name are looked up.
    pub resolve: Duration,
    /// Each address of its name is a server of its own.
    pub is_each_address: bool,
}

/// Which server gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest streams for its weight.
    LeastStreams,
    /// One after the other, by their weights.
    RoundRobin,
    /// The better one of two that are drawn (power of two choices).
    PowerOfTwo,
    /// The one that the same key always gets (rendezvous hashing).
    Hash,
}

/// What `balance: hash` goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPolicy {
    /// The first one that a request has counts. Not empty.
    pub keys: Vec<HashKey>,
    /// How much more streams than the mean a server may carry before another gets its requests, in percent of the mean, from 100.
    pub balance_percent: u32,
}

/// A key of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A field of its head, by name, in lower case.
    Header(String),
    Cookie(String),
    /// The address of its client.
    Address,
    /// A member at the top of its body, which is a JSON object.
    Body(String),
}

/// Where requests wait that no server takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Requests that wait at once; 0: none does.
    pub size: usize,
    /// How long each may wait.
    pub timeout: Duration,
    /// Requests with another value of this field take turns with each other; its name is in lower case.
    pub fairness: Option<String>,
}

/// How servers are asked whether they are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The path of the request, which is a GET.
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// Probes in a row that must fail before a server is down.
    pub fails: NonZeroU32,
    /// Probes in a row that must succeed before it is up again.
    pub passes: NonZeroU32,
    /// Fields that probes have besides.
    pub headers: Vec<(String, String)>,
}

/// When a server is ejected for what its answers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierPolicy {
    pub consecutive_failures: NonZeroU32,
    /// How long the first time; each further time doubles it.
    pub base_ejection_time: Duration,
    pub max_ejection_time: Duration,
    /// Servers that may be ejected at once, in percent, rounded up; never the last one.
    pub max_ejection_percent: u32,
}

/// When a request goes to another server, before anything of an answer was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverPolicy {
    pub on: Vec<FailoverOn>,
    /// Servers that are tried in all.
    pub attempts: NonZeroU32,
    /// How long a server that is not the last attempt may take for its first event.
    pub first_event_timeout: Option<Duration>,
    /// Bytes of a request's body that are kept for a further attempt.
    pub max_body: usize,
    /// Further attempts in percent of all requests, those after a connection that could not be opened aside.
    pub budget_percent: u32,
}

/// What another server may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverOn {
    /// No connection could be opened.
    Connect,
    /// The status 429, within a second.
    TooManyRequests,
    /// The status 503, within a second.
    Unavailable,
    /// Any other status from 500 on.
    ServerError,
    /// The connection broke before an answer.
    Reset,
}

/// How many streams a client may have at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerClientLimit {
    pub key: ClientKey,
    pub max_streams: NonZeroU32,
}

/// What a route says of [`PerClientLimit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoutePerClient {
    /// Nothing: the one of the top-level `limits` holds, for all such routes together.
    #[default]
    Inherit,
    Off,
    Limit(PerClientLimit),
}

impl RoutePerClient {
    /// The limit that holds, beside this one of the top-level `limits`.
    pub fn or<'a>(&'a self, default: Option<&'a PerClientLimit>) -> Option<&'a PerClientLimit> {
        match self {
            Self::Inherit => default,
            Self::Off => None,
            Self::Limit(limit) => Some(limit),
        }
    }
}

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKey {
    /// A field of the request's head, in lower case. Requests without it are not limited.
    Header(String),
    Address,
}

impl Default for HashPolicy {
    fn default() -> Self {
        Self { keys: Vec::new(), balance_percent: 150 }
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self { size: 0, timeout: Duration::from_secs(30), fairness: None }
    }
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: const { NonZeroU32::new(3).unwrap() },
            base_ejection_time: Duration::from_secs(10),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 50,
        }
    }
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        Self {
            on: vec![FailoverOn::Connect],
            attempts: const { NonZeroU32::new(2).unwrap() },
            first_event_timeout: None,
            max_body: 1 << 20,
            budget_percent: 20,
        }
    }
}
