//! Requests to the origin: how a request arrived there, and how a stream went.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::observe::{Ask, Observation, ResponseEnd, observe};
use super::point::Point;
use crate::doctor::judge::{Echo, Millis, NotMade};

const LIMIT: Duration = Duration::from_secs(10);

/// The interval at which the origin is asked whether it has noticed that a client left.
const PAUSE: Duration = Duration::from_millis(100);

/// The origin's account of a stream. Times are since the head of its request arrived there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamAccount {
    pub known: bool,
    pub state: String,
    pub age_ms: Millis,
    pub head_ms: Option<Millis>,
    /// For each event, when its write began.
    pub sent_ms: Vec<Millis>,
    pub gone_ms: Option<Millis>,
}

/// The origin, reached through a point.
pub struct OriginApi<'a> {
    pub point: &'a Point,
    pub token: &'a str,
    /// Fields that the user adds to every request, such as `Authorization`.
    pub fields: &'a [(String, String)],
    /// Locked by the point that opens many streams at once: points share hops, and two of them together could meet a limit that
    /// neither meets alone.
    pub many_streams: &'a Mutex<()>,
}

impl OriginApi<'_> {
    /// The query of a request to the origin.
    pub fn query(&self, order: &str) -> String {
        format!("doctor_token={}&{order}", self.token)
    }

    /// These fields, followed by the user's.
    pub fn fields<'f>(&'f self, own: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let given = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.iter().copied().chain(given).collect()
    }

    /// How a request with these fields arrives.
    pub async fn echo(&self, own: &[(&str, &str)]) -> Result<Echo, NotMade> {
        let sent = self.fields(own);
        let mut echo: Echo = self.ask("do=echo", sent.clone()).await?;
        echo.sent = sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ok(echo)
    }

    /// The account of a stream.
    pub async fn account(&self, run: &str) -> Result<StreamAccount, NotMade> {
        let account: StreamAccount = self.ask(&format!("do=account&run={run}"), self.fields(&[])).await?;
        if account.known {
            return Ok(account);
        }
        Err("the origin does not know of it: are there several origins behind this point?".into())
    }

    /// Waits until the origin knows that the client of a stream has left. Returns how long after this call that was; `None`: not within
    /// `limit`.
    pub async fn knows_of_leaving(&self, run: &str, limit: Duration) -> Result<Option<Millis>, NotMade> {
        let left = Instant::now();
        loop {
            let account = self.account(run).await?;
            if let Some(gone) = account.gone_ms {
                let ago = account.age_ms - gone;
                return Ok(Some((left.elapsed().as_secs_f64() * 1000.0 - ago).max(0.0)));
            }
            if left.elapsed() > limit {
                return Ok(None);
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask<T: DeserializeOwned>(&self, order: &str, fields: Vec<(&str, &str)>) -> Result<T, NotMade> {
        let ask = Ask {
            method: Method::GET,
            query: self.query(order),
            fields,
            body: None,
            leave: None,
            limit: LIMIT,
        };
        let seen = observe(self.point, &ask).await;
        match serde_json::from_slice(&seen.body) {
            Ok(answer) if seen.status() == Some(200) => Ok(answer),
            _ => Err(not_the_origin(&seen)),
        }
    }
}

/// The reason why an answer is not the probe origin's.
pub fn not_the_origin(seen: &Observation) -> NotMade {
    let text = String::from_utf8_lossy(&seen.body);
    let first_line: String = text.lines().next().unwrap_or_default().chars().take(160).collect();
    let why = match (seen.status(), seen.ended) {
        (_, ResponseEnd::NotConnected) => seen.trouble.clone().unwrap_or_default(),
        (None, ResponseEnd::StillRunning) => format!("no response within {LIMIT:?}"),
        (None, ended) => format!("the connection ended without a response ({})", ended.as_str()),
        (Some(403), _) if text.starts_with("This is a probe origin") => {
            "status 403: it is a probe origin, and this is not its token, or the query does not arrive there"
                .to_owned()
        }
        (Some(status @ 300..400), _) => {
            format!("status {status}, to {}", seen.field("Location").unwrap_or_default())
        }
        (Some(status), _) => format!("status {status}, and not the answer of a probe origin: {first_line}"),
    };
    NotMade { why, status: seen.status() }
}
