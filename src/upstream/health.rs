//! Active health checks: each server is probed at an interval.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::balance::MemberId;
use super::server::UpstreamServer;
use super::servers::Upstream;
use crate::config::HealthPolicy;
use crate::http1::RequestHead;

/// The relative jitter of the interval, so that the probes of several servers or proxies do not coincide.
const JITTER: f64 = 0.1;

/// Probes a server until its upstream is dropped.
pub async fn watch(
    upstream: Weak<Upstream>,
    id: MemberId,
    server: Arc<UpstreamServer>,
    policy: HealthPolicy,
) {
    sleep(policy.interval.min(Duration::from_secs(1)).mul_f64(fastrand::f64())).await;
    loop {
        let result = match timeout(policy.timeout, probe(&server, &policy)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", policy.timeout)),
        };
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.probed(id, result);
        drop(upstream);
        sleep(policy.interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())).await;
    }
}

/// Sends one probe. A status of 2xx or 3xx is healthy; otherwise returns the reason.
async fn probe(server: &UpstreamServer, policy: &HealthPolicy) -> Result<(), String> {
    let mut connection = server.open_once(policy.timeout).await.map_err(|error| error.to_string())?;
    let mut request = RequestHead::get(&policy.path);
    request.fields.append("Host", server.host());
    request.fields.append("User-Agent", concat!("sidestream/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &policy.headers {
        request.fields.set(name, value);
    }
    let failed = |fault: crate::outcome::Fault| fault.failure.facts().unanswered.to_owned();
    connection.write_head(&request, false).await.map_err(|error| failed(error.fault))?;
    let status = loop {
        let head = connection.read_head().await.map_err(|error| failed(error.fault))?;
        if !head.status.is_informational() {
            break head.status;
        }
    };
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("status {}", status.as_u16()))
    }
}
