//! Why connecting to a server failed.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use super::resolve::LookupError;
use crate::net::pingora::OpenError;
use crate::outcome::{Cause, Failure, Fault};

/// Addresses listed in a message. Further ones are only counted.
const NAMED: usize = 8;

/// Why connecting to a server failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot look up `{host}`: {error}")]
    Lookup { host: String, error: LookupError },
    #[error("no file descriptors left to connect to {server}: raise the limit (`ulimit -n`, `LimitNOFILE=`)")]
    NoDescriptors { server: String },
    /// No address accepted a connection.
    #[error("{}", Listed(.0))]
    Unreachable(Vec<Tried>),
}

/// The result of a failed connection attempt.
#[derive(Debug)]
pub struct Tried {
    /// An address, or the path of a unix socket.
    pub endpoint: String,
    pub error: AttemptError,
}

/// Why an endpoint did not accept a connection.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error(
        "its certificate is itself a certificate authority, as `openssl req -x509` creates by default, and rustls \
         rejects those: create it with `-addext basicConstraints=critical,CA:FALSE`, or write `verify: false`"
    )]
    ServedByAuthority,
    #[error("it does not speak TLS: write `http://` for this server, or `h2://`")]
    NotTls,
    #[error("it does not negotiate HTTP/2 (ALPN): write `https://` for this server, not `h2s://`")]
    NoHttp2,
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
}

impl ConnectError {
    /// The failure of the request, caused by the first operating system error.
    pub fn fault(&self) -> Fault {
        let cause = match self {
            Self::Unreachable(tried) => tried.iter().find_map(|tried| tried.error.errno()),
            Self::Lookup { .. } | Self::NoDescriptors { .. } => None,
        };
        Fault::caused(self.failure(), cause.map(Cause::Os))
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Lookup { error: LookupError::TimedOut, .. } => Failure::LookupTimeout,
            Self::Lookup { .. } => Failure::LookupFailed,
            Self::NoDescriptors { .. } => Failure::NoResources,
            Self::Unreachable(tried) => {
                let is_any = |is: fn(&AttemptError) -> bool| tried.iter().any(|tried| is(&tried.error));
                if is_any(AttemptError::is_timeout) {
                    Failure::ConnectTimeout
                // A host without IPv6 has EADDRNOTAVAIL for ::1, which says nothing about the other addresses.
                } else if tried.iter().all(|tried| tried.error.is_out_of_resources()) {
                    Failure::NoResources
                } else {
                    Failure::ConnectFailed
                }
            }
        }
    }

    /// Whether an endpoint did not answer in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Unreachable(tried) if tried.iter().any(|tried| tried.error.is_timeout()))
    }

    /// Whether the server may be restarting: nothing listens on the endpoint, so nothing was sent.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unreachable(tried) if tried.iter().any(|tried| tried.error.is_refusal()))
    }
}

impl AttemptError {
    fn is_timeout(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }

    fn is_refusal(&self) -> bool {
        // A unix socket that nothing listens on may have no file.
        matches!(self, Self::Open(error) if matches!(error.io, Some(ErrorKind::ConnectionRefused | ErrorKind::NotFound)))
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(error) => error.errno,
            Self::ServedByAuthority | Self::NotTls | Self::NoHttp2 | Self::NoAnswer(_) => None,
        }
    }

    /// Whether this machine has no descriptors, ports or memory left for another connection.
    fn is_out_of_resources(&self) -> bool {
        // errno: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS (errno(3), Linux numbers).
        const OUT_OF: [i32; 5] = [12, 23, 24, 99, 105];
        self.errno().is_some_and(|errno| OUT_OF.contains(&errno))
    }
}

/// Each endpoint with its error.
struct Listed<'a>(&'a [Tried]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Tried { endpoint, error }) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{endpoint}: {error}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            others => write!(f, "; and {others} more addresses"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EADDRNOTAVAIL: i32 = 99;
    const ECONNREFUSED: i32 = 111;

    fn failure_of(errnos: &[i32]) -> Failure {
        let tried = errnos.iter().map(|errno| Tried {
            endpoint: "[::1]:8000".to_owned(),
            error: AttemptError::Open(std::io::Error::from_raw_os_error(*errno).into()),
        });
        ConnectError::Unreachable(tried.collect()).fault().failure
    }

    #[test]
    fn a_message_lists_some_addresses_and_counts_the_others() {
        let message = |count: u32| {
            let tried = (1..=count).map(|number| Tried {
                endpoint: format!("192.0.2.{number}:80"),
                error: AttemptError::NoAnswer(Duration::from_secs(5)),
            });
            ConnectError::Unreachable(tried.collect()).to_string()
        };
        assert!(message(8).ends_with("192.0.2.8:80: no answer within 5s"), "{}", message(8));
        assert!(message(10).ends_with("192.0.2.8:80: no answer within 5s; and 2 more addresses"));
    }

    #[test]
    fn out_of_resources_is_what_no_address_says_otherwise() {
        assert_eq!(failure_of(&[EADDRNOTAVAIL, EADDRNOTAVAIL]), Failure::NoResources);
        // `localhost` on a host without IPv6, where nobody listens.
        assert_eq!(failure_of(&[EADDRNOTAVAIL, ECONNREFUSED]), Failure::ConnectFailed);
    }
}
