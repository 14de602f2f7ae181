//! A single server outside of any group, for callers such as the doctor.

use std::net::SocketAddr;
use std::sync::Arc;

use super::connector::{AuthoritiesError, Connector, system_authorities};
use super::server::{ServerSetup, UpstreamServer};
use crate::config::{MetricsPolicy, ServerConfig, UpstreamConfig};
use crate::net::Workers;
use crate::net::pingora::NO_AUTHORITIES;
use crate::telemetry::metrics::Metrics;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum SingleServerError {
    #[error("the configuration has no server")]
    NoServer,
    #[error(
        "cannot read the system's certificate authorities: {0}\n  install `ca-certificates`, or set SSL_CERT_FILE"
    )]
    Authorities(#[from] AuthoritiesError),
    #[error("cannot create the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The first server of `config`, with separate connections and unpublished metrics. `address` overrides the
/// look-up of the name. `http2_streams`: the maximum number of concurrent streams on one HTTP/2 connection. Must be
/// called within a tokio runtime.
pub fn single_server(
    config: UpstreamConfig,
    address: Option<SocketAddr>,
    http2_streams: u32,
) -> Result<Arc<UpstreamServer>, SingleServerError> {
    let server: ServerConfig = config.servers.first().cloned().ok_or(SingleServerError::NoServer)?;
    let needs_authorities = server.origin.protocol.is_tls() && config.tls.verify && config.tls.ca.is_none();
    let ca_file = match system_authorities() {
        Ok(()) => None,
        Err(error) if needs_authorities => return Err(error.into()),
        Err(_) => Some(NO_AUTHORITIES),
    };
    let metrics = Arc::new(Metrics::new(&MetricsPolicy::default())?);
    let counts = metrics.upstream(&config.name);
    let connector = Arc::new(Connector::new(ca_file, &Workers::default()));
    let setup = ServerSetup { config: Arc::new(config), connector, metrics, counts, http2_streams };
    Ok(UpstreamServer::new(&setup, &server, address))
}
