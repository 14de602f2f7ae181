//! A point of the chain: its URL, and how the probe connects to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{PathAndQuery, Uri};

use super::tests::AT_ONCE_HTTP2;
use crate::config::{self, Address, ConfigError, Origin, Protocol};
use crate::upstream::{ConnectError, Connection, SingleServerError, UpstreamServer, Use, single_server};

/// The limit for opening a connection.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Idle HTTP/2 connections are kept for this long, so that streams share one.
const KEPT: Duration = Duration::from_secs(60);

/// The HTTP versions that the probe may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/2 if it is negotiated over TLS, as browsers do; otherwise HTTP/1.1.
    #[default]
    AsBrowsers,
    Http1,
    /// Without TLS with prior knowledge.
    Http2,
}

/// How all points are connected to.
#[derive(Clone, Debug, Default)]
pub struct Connecting {
    pub versions: Versions,
    /// Whether any certificate is accepted.
    pub is_insecure: bool,
    /// Addresses that are used instead of DNS.
    pub resolve: Vec<Override>,
}

/// The address of a host, as `--resolve` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub host: String,
    pub port: u16,
    pub address: std::net::IpAddr,
}

/// A mistake in a point of the command line.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    #[error("`{0}` is not the URL of a point\n  write `[name=]http://HOST:PORT/PATH`, or `https://`")]
    Url(String),
    #[error("two points are called `{0}`\n  give each a name of its own: `name=URL`")]
    Twice(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] SingleServerError),
}

/// A place in the chain that is probed.
pub struct Point {
    pub name: String,
    pub url: String,
    authority: String,
    target: PathAndQuery,
    http1: Arc<UpstreamServer>,
    /// `None` where HTTP/2 is not spoken.
    http2: Option<Arc<UpstreamServer>>,
    /// The same server with another connection, which carries only the streams of the test `at_once`: streams of other tests would
    /// count towards its limit.
    http2_at_once: Option<Arc<UpstreamServer>>,
    is_http2: bool,
}

impl Point {
    /// Reads all points, whose names must differ. Must be called within a tokio runtime.
    pub fn all(texts: &[String], connecting: &Connecting) -> Result<Vec<Self>, PointError> {
        let points: Vec<Self> =
            texts.iter().map(|text| Self::new(text, connecting)).collect::<Result<_, _>>()?;
        for (index, point) in points.iter().enumerate() {
            if points[..index].iter().any(|other| other.name == point.name) {
                return Err(PointError::Twice(point.name.clone()));
            }
        }
        Ok(points)
    }

    /// Reads `[name=]URL`. Must be called within a tokio runtime.
    pub fn new(text: &str, connecting: &Connecting) -> Result<Self, PointError> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains([':', '/']) && !name.is_empty() => (Some(name), url),
            _ => (None, text),
        };
        let bad = || PointError::Url(text.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let address = connecting
            .resolve
            .iter()
            .find(|known| known.host.eq_ignore_ascii_case(&host) && known.port == port)
            .map(|known| SocketAddr::new(known.address, port));
        let server = |protocol| -> Result<_, PointError> {
            let origin = Origin { protocol, address: Address::Tcp { host: host.clone(), port } };
            let mut config = config::single_server(&origin)?;
            config.tls.verify = !connecting.is_insecure;
            config.connect_timeout = CONNECT_LIMIT;
            config.keepalive_idle = protocol.is_http2().then_some(KEPT);
            Ok(single_server(config, address, AT_ONCE_HTTP2)?)
        };
        let (http1, http2) = match is_tls {
            true => (Protocol::Http1Tls, Protocol::Http2Tls),
            false => (Protocol::Http1, Protocol::Http2),
        };
        let http2 = || server(http2);
        let may_be_http2 = match connecting.versions {
            Versions::AsBrowsers => is_tls,
            Versions::Http1 => false,
            Versions::Http2 => true,
        };
        Ok(Self {
            name: name.unwrap_or(authority.as_str()).to_owned(),
            url: url.to_owned(),
            authority: authority.to_string(),
            target: uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            http1: server(http1)?,
            http2: may_be_http2.then(http2).transpose()?,
            http2_at_once: may_be_http2.then(http2).transpose()?,
            is_http2: connecting.versions == Versions::Http2,
        })
    }

    /// Connects, and finds out which HTTP version the server speaks.
    pub async fn settle(&mut self) -> Result<(), ConnectError> {
        if let Some(http2) = &self.http2
            && !self.is_http2
        {
            self.is_http2 = http2.open_once(CONNECT_LIMIT).await.is_ok();
        }
        self.open().await.map(drop)
    }

    /// Opens a connection, or over HTTP/2 a stream on the one that is open.
    pub async fn open(&self) -> Result<Connection, ConnectError> {
        match &self.http2 {
            Some(http2) if self.is_http2 => match http2.pooled(Use::Exchange).await {
                Some(connection) => Ok(connection),
                None => http2.open_once(CONNECT_LIMIT).await,
            },
            _ => self.http1.open_once(CONNECT_LIMIT).await,
        }
    }

    /// Opens a stream on the HTTP/2 connection of the test `at_once`, and that connection if it is not open. `None`: HTTP/1.1 is
    /// spoken here.
    pub async fn open_first(&self) -> Option<Result<Connection, ConnectError>> {
        let http2 = self.http2_at_once.as_ref().filter(|_| self.is_http2)?;
        Some(match http2.pooled(Use::Exchange).await {
            Some(connection) => Ok(connection),
            None => http2.open_once(CONNECT_LIMIT).await,
        })
    }

    /// Opens another stream on that HTTP/2 connection, or another HTTP/1.1 connection. `None`: no more are taken.
    pub async fn open_another(&self) -> Option<Connection> {
        match &self.http2_at_once {
            Some(http2) if self.is_http2 => http2.pooled(Use::Exchange).await,
            _ => self.open().await.ok(),
        }
    }

    pub fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// The host that requests name.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The request target: that of the URL, with `query` added.
    pub fn target(&self, query: &str) -> String {
        match (self.target.query(), query) {
            (_, "") => self.target.to_string(),
            (None, query) => format!("{}?{query}", self.target.path()),
            (Some(own), query) => format!("{}?{own}&{query}", self.target.path()),
        }
    }
}
