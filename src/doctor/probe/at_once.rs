//! How many streams run at once.

use futures_util::future::join_all;
use http::Method;
use tokio::time::{Instant, sleep};

use super::PAUSE;
use super::measure::{EVENTS_ACCEPTED, SHORT, run_id};
use super::observe::{OpenRequest, observe_on};
use super::origin_api::OriginApi;
use super::tests::{AT_ONCE, AT_ONCE_HTTP1, AT_ONCE_HTTP2, AT_ONCE_WITHIN};
use crate::doctor::judge::{AtOnceSeen, NotMade};
use crate::upstream::Connection;

/// Accounts that are requested at once over HTTP/2: as few as the streams of the other tests.
const ACCOUNTS: usize = 8;

/// How often a refused account is requested.
const TRIES: usize = 3;

impl OriginApi<'_> {
    /// Opens many streams, and counts those that the origin serves before the first of them ends.
    pub async fn at_once(&self) -> Result<AtOnceSeen, NotMade> {
        let _turn = self.many_streams.lock().await;
        let is_http2 = self.point.is_http2();
        let wanted = if is_http2 { AT_ONCE_HTTP2 as usize } else { AT_ONCE_HTTP1 };
        let opened = self.open(wanted).await?;
        let mut seen = AtOnceSeen {
            version: if is_http2 { "HTTP/2" } else { "HTTP/1.1" },
            wanted,
            opened: opened.len(),
            ran: 0,
            refused: None,
        };
        let began = Instant::now();
        let streams = join_all(opened.into_iter().map(|connection| self.begin(connection, began))).await;
        seen.refused = streams.iter().find_map(|(_, stream)| stream.status().filter(|status| *status != 200));
        // Each has begun by now, or is too late. Dropping the streams ends them.
        let runs: Vec<_> = streams.into_iter().map(|(run, _)| run).collect();
        // Over HTTP/1.1 each request takes a connection, and the hop may limit those.
        for runs in runs.chunks(if is_http2 { ACCOUNTS } else { 1 }) {
            let ran = join_all(runs.iter().map(|run| self.has_run(run, began))).await;
            seen.ran += ran.into_iter().filter(|has_run| *has_run).count();
        }
        Ok(seen)
    }

    /// Opens as many streams as are taken, up to `wanted`.
    async fn open(&self, wanted: usize) -> Result<Vec<Connection>, NotMade> {
        if let Some(first) = self.point.open_first().await {
            let first = first.map_err(|error| error.to_string())?;
            // The SETTINGS of a server come before its first answer (RFC 9113, 3.4). Without them the limit would not be known yet.
            observe_on(first, self.point, &self.order("do=echo", Method::GET, &[], None, SHORT)).await;
        }
        let mut opened = Vec::new();
        while opened.len() < wanted
            && let Some(connection) = self.point.open_another().await
        {
            opened.push(connection);
        }
        Ok(opened)
    }

    /// Asks for a stream; returns its name, and the stream, which runs until it is dropped.
    async fn begin(&self, connection: Connection, began: Instant) -> (String, OpenRequest) {
        let run = run_id();
        let order = format!("{AT_ONCE}&run={run}");
        let ask = self.order(&order, Method::GET, EVENTS_ACCEPTED, None, SHORT);
        (run, OpenRequest::begin(connection, self.point, &ask, began + AT_ONCE_WITHIN).await)
    }

    /// Whether the request for this stream reached the origin while the others ran.
    async fn has_run(&self, run: &str, began: Instant) -> bool {
        for _ in 0..TRIES {
            match self.account(run).await {
                Ok(account) => {
                    let came = began.elapsed().as_secs_f64() * 1000.0 - account.age_ms;
                    return came < AT_ONCE_WITHIN.as_secs_f64() * 1000.0;
                }
                // Refused: a hop counts the streams until it has noticed that the probe has left them.
                Err(failure) if failure.status.is_some() => sleep(PAUSE).await,
                Err(_) => return false,
            }
        }
        false
    }
}
