//! The servers of an upstream: which of them gets a request, and when one is left out.

use std::num::NonZeroU32;
use std::time::Duration;

use super::origin::Origin;

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its URL.
    pub origin: Origin,
    /// Its share of requests, relative to the weights of the others.
    pub weight: NonZeroU32,
    /// The streams that it carries at once; further requests queue. `None` is no limit.
    pub max_streams: Option<NonZeroU32>,
    /// Whether it gets requests only while no other server is up.
    pub is_backup: bool,
    /// How often the addresses of its name are looked up.
    pub resolve: Duration,
    /// Whether each address of its name is a server.
    pub is_each_address: bool,
}

/// How a server is chosen for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest streams for its weight.
    LeastStreams,
    /// In turn, by weight.
    RoundRobin,
    /// The better of two random ones (power of two choices).
    PowerOfTwo,
    /// The one that the same key always gets (rendezvous hashing).
    Hash,
}

/// What `balance: hash` uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPolicy {
    /// The first one that a request has counts. Not empty with `balance: hash`.
    pub keys: Vec<HashKey>,
    /// A server with more streams than this part of the mean is passed over. In percent, above 100.
    pub balance_percent: u32,
}

/// A property of a request that chooses its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// A header, by its name in lower case.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// The address of the client.
    Address,
    /// A member at the top of the body, which is a JSON object.
    Body(String),
}

/// Where requests wait while all servers are full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Requests that wait at once; 0 is no queue.
    pub size: usize,
    /// How long each may wait.
    pub timeout: Duration,
    /// Requests with different values of this header take turns. Its name is in lower case.
    pub fairness: Option<String>,
}

/// The probes of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The path of the request, which is a GET.
    pub path: String,
    /// The time between two probes of a server.
    pub interval: Duration,
    /// The time for a whole probe.
    pub timeout: Duration,
    /// Failed probes in a row after which a server is down.
    pub fails: NonZeroU32,
    /// Successful probes in a row after which it is up again.
    pub passes: NonZeroU32,
    /// Headers of the probes: names and values.
    pub headers: Vec<(String, String)>,
}

/// When a server is ejected because of its answers to real requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// Failures in a row after which it is ejected.
    pub consecutive_failures: NonZeroU32,
    /// How long the first ejection lasts; each further one lasts twice as long as the last.
    pub base_ejection_time: Duration,
    /// The longest ejection.
    pub max_ejection_time: Duration,
    /// The part of the servers that may be ejected at once, in percent, rounded up. The last server is never ejected.
    pub max_ejection_percent: u32,
}

/// When another server is tried, before any part of an answer was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverPolicy {
    /// The failures after which another server is tried.
    pub on: Vec<FailoverOn>,
    /// Servers that are tried, the first one included.
    pub attempts: NonZeroU32,
    /// How long each attempt but the last waits for the response head.
    pub first_event_timeout: Option<Duration>,
    /// Bytes of a request body that are kept for another attempt.
    pub max_body: usize,
    /// Further attempts, in percent of all requests. Those after a failure to connect do not count.
    pub budget_percent: u32,
}

/// A failure after which another server is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverOn {
    /// No connection could be opened.
    Connect,
    /// The status 429, within a second.
    TooManyRequests,
    /// The status 503, within a second.
    Unavailable,
    /// Any other status from 500.
    ServerError,
    /// The connection broke before an answer.
    Reset,
}

/// How many streams a client may have at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerClientLimit {
    /// What identifies a client.
    pub key: ClientKey,
    /// Streams at once; further requests are answered 429.
    pub max_streams: NonZeroU32,
}

/// The [`PerClientLimit`] of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoutePerClient {
    /// The one of the top-level `limits`, which all such routes share.
    #[default]
    Inherit,
    /// No limit.
    Off,
    /// A limit for this route alone.
    Limit(PerClientLimit),
}

impl RoutePerClient {
    /// The limit of the route, where `default` is the one of the top-level `limits`.
    pub fn or<'a>(&'a self, default: Option<&'a PerClientLimit>) -> Option<&'a PerClientLimit> {
        match self {
            Self::Inherit => default,
            Self::Off => None,
            Self::Limit(limit) => Some(limit),
        }
    }
}

/// What identifies a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKey {
    /// The value of a header, by its name in lower case. Requests without it are not limited.
    Header(String),
    /// The address of the client.
    Address,
}
