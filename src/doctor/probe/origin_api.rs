//! What a probe asks the origin about: how requests arrived there, and what became of a stream.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::observe::{Ask, Observation, ResponseEnd, observe};
use super::point::Point;
use crate::doctor::judge::{Echo, Millis};

const LIMIT: Duration = Duration::from_secs(10);

/// How often the origin is asked whether it knows that a client has left.
const PAUSE: Duration = Duration::from_millis(100);

/// What an origin says became of a stream. Times are since the request's head had arrived there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamAccount {
    pub known: bool,
    pub state: String,
    pub age_ms: Millis,
    pub head_ms: Option<Millis>,
    /// One for each event, when its write began.
    pub sent_ms: Vec<Millis>,
    pub gone_ms: Option<Millis>,
}

/// The origin, as it is reached through a point.
pub struct OriginApi<'a> {
    pub point: &'a Point,
    pub token: &'a str,
    /// Of the user: what every request needs to get through.
    pub fields: &'a [(String, String)],
}

impl OriginApi<'_> {
    /// The query of a request to the origin.
    pub fn query(&self, order: &str) -> String {
        format!("doctor_token={}&{order}", self.token)
    }

    /// The user's fields, after these.
    pub fn fields<'f>(&'f self, own: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let given = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.iter().copied().chain(given).collect()
    }

    /// How a request with these fields arrives. The error says why none did.
    pub async fn echo(&self, own: &[(&str, &str)]) -> Result<Echo, String> {
        let sent = self.fields(own);
        let mut echo: Echo = self.ask("do=echo", sent.clone()).await?;
        echo.sent = sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ok(echo)
    }

    /// What became of a stream.
    pub async fn account(&self, run: &str) -> Result<StreamAccount, String> {
        let account: StreamAccount = self.ask(&format!("do=account&run={run}"), self.fields(&[])).await?;
        if account.known {
            return Ok(account);
        }
        Err("the origin does not know of it: are there several origins behind this point?".to_owned())
    }

    /// How long after now the origin knows that the client of a stream has left; `None`: not within `limit`.
    pub async fn knows_of_leaving(&self, run: &str, limit: Duration) -> Result<Option<Millis>, String> {
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

    async fn ask<T: DeserializeOwned>(&self, order: &str, fields: Vec<(&str, &str)>) -> Result<T, String> {
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

/// Why an answer is not one of a probe origin.
pub fn not_the_origin(seen: &Observation) -> String {
    let text = String::from_utf8_lossy(&seen.body);
    let first_line: String = text.lines().next().unwrap_or_default().chars().take(160).collect();
    match (seen.status(), seen.ended) {
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
    }
}
