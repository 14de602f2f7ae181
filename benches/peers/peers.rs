//! The proxies to compare, and how to find them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{bare_epoll, bare_tokio, pingora_client};

/// A proxy, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Direct,
    Sidestream,
    /// Another build of sidestream, named by the environment variable `BASELINE`.
    Baseline,
    Nginx,
    Haproxy,
    HaproxyTcp,
    Caddy,
    Envoy,
    BareEpoll,
    BareTokio,
    /// sidestream's event-stream core over pingora's HTTP/1.1 client.
    PingoraClient,
}

impl Peer {
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::Sidestream,
        Self::Baseline,
        Self::Nginx,
        Self::Haproxy,
        Self::HaproxyTcp,
        Self::Caddy,
        Self::Envoy,
        Self::BareEpoll,
        Self::BareTokio,
        Self::PingoraClient,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sidestream => "sidestream",
            Self::Baseline => "baseline",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::HaproxyTcp => "haproxy-tcp",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::BareEpoll => bare_epoll::ROLE,
            Self::BareTokio => bare_tokio::ROLE,
            Self::PingoraClient => pingora_client::ROLE,
        }
    }

    /// Whether it is a relay of this program, which takes addresses and has no configuration.
    pub fn is_bare(self) -> bool {
        matches!(self, Self::BareEpoll | Self::BareTokio | Self::PingoraClient)
    }

    /// Whether it speaks HTTP/2 over TLS with clients.
    pub fn speaks_http2(self) -> bool {
        !self.is_bare() && !matches!(self, Self::Direct | Self::HaproxyTcp)
    }

    /// Whether it can have more than one worker.
    pub fn has_workers(self) -> bool {
        !self.is_bare() && !matches!(self, Self::Direct | Self::HaproxyTcp)
    }

    /// The version that the program prints, or `None` if it is not installed.
    pub fn version(self) -> Option<String> {
        let flag = match self {
            Self::Direct => return Some("no proxy".to_owned()),
            Self::BareEpoll | Self::BareTokio => return Some("a lower bound, not a proxy".to_owned()),
            Self::PingoraClient => return Some("a relay for comparison, not a proxy".to_owned()),
            Self::Sidestream | Self::Baseline | Self::Envoy => "--version",
            Self::Caddy => "version",
            _ => "-v",
        };
        let output = Command::new(self.program()?).arg(flag).stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        said.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// The program, from an environment variable or the PATH.
    pub fn program(self) -> Option<PathBuf> {
        let named = |variable: &str, default: &str| {
            Some(PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| default.into())))
        };
        match self {
            Self::Direct => None,
            Self::Sidestream => Some(env!("CARGO_BIN_EXE_sidestream").into()),
            Self::Baseline => std::env::var_os("BASELINE").map(PathBuf::from),
            Self::Nginx => named("NGINX", "nginx"),
            Self::Haproxy | Self::HaproxyTcp => named("HAPROXY", "haproxy"),
            Self::Caddy => named("CADDY", "caddy"),
            Self::Envoy => named("ENVOY", "envoy"),
            Self::BareEpoll | Self::BareTokio | Self::PingoraClient => std::env::current_exe().ok(),
        }
    }
}
