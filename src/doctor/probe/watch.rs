//! A real answer, watched at each point.

use std::time::Duration;

use http::Method;

use super::INTERRUPTED;
use super::observe::{Ask, ResponseEnd, observe_until};
use super::point::Point;
use crate::doctor::judge::{AnswerSeen, RealAnswer, WatchEnd, look_at};

/// The user's request.
pub struct Request {
    pub fields: Vec<(String, String)>,
    /// A POST has one.
    pub body: Option<Vec<u8>>,
    /// How long its answer is watched.
    pub limit: Duration,
}

/// Sends the request, and watches the answer until `stop` is ready. The error says why there is no answer.
pub async fn watch(
    point: &mut Point,
    request: &Request,
    stop: impl Future + Clone,
) -> Result<AnswerSeen, String> {
    tokio::select! {
        // After an interrupt no request is sent.
        biased;
        _ = stop.clone() => return Err(INTERRUPTED.to_owned()),
        settled = point.settle() => settled.map_err(|error| error.to_string())?,
    }
    let mut fields = vec![("Accept", "text/event-stream, application/json")];
    if request.body.is_some() {
        fields.push(("Content-Type", "application/json"));
    }
    fields.extend(request.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let ask = Ask {
        method: if request.body.is_some() { Method::POST } else { Method::GET },
        query: String::new(),
        fields,
        body: request.body.as_deref(),
        leave: None,
        limit: request.limit,
    };
    let seen = observe_until(point, &ask, stop).await;
    let (Some(status), Some(head_at)) = (seen.status(), seen.head_at) else {
        return Err(match (seen.trouble, seen.ended) {
            (Some(trouble), _) => trouble,
            (None, ResponseEnd::Left) => INTERRUPTED.to_owned(),
            (None, ResponseEnd::StillRunning) => format!("no response within {:?}", request.limit),
            (None, ended) => format!("the connection ended without a response ({})", ended.as_str()),
        });
    };
    Ok(look_at(&RealAnswer {
        status,
        content_type: seen.field("Content-Type").unwrap_or_default(),
        content_coding: seen.coding(),
        path: point.target("").split('?').next().unwrap_or_default().to_owned(),
        head_at,
        body: &seen.body,
        reads: &seen.reads,
        end: match seen.ended {
            ResponseEnd::Complete => WatchEnd::Whole,
            ResponseEnd::Left | ResponseEnd::StillRunning => WatchEnd::Running,
            ResponseEnd::TooLarge => WatchEnd::TooLarge,
            _ => WatchEnd::Broken,
        },
        ended: seen.ended.as_str(),
        ended_at: seen.ended_at,
        fields: seen.fields(),
        asked_for_stream: request.body.as_deref().is_some_and(asks_for_stream),
    }))
}

fn asks_for_stream(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body["stream"] == true)
}
