//! Compares the result of a case with its acceptable results.

use super::case::{Case, Fate};
use super::wire::{Heard, is_from_backend, keeps_alive};
use crate::kit::strict::Request;

/// The target of a legitimate second request on a connection.
pub const SECOND: &str = "/second";

/// `seen`: the complete requests that the backend got, or the ambiguities in them.
pub fn check(case: &Case, heard: &Heard, seen: Vec<Result<Request, String>>) -> Result<(), String> {
    let requests = seen.into_iter().collect::<Result<Vec<_>, _>>();
    let requests = requests.map_err(|doubt| format!("the backend got an ambiguous request: {doubt}"))?;
    // These cases contain the marker in the request itself.
    if !case.name.starts_with("Connection: ")
        && let Some(request) = requests.iter().find(|request| is_smuggled(request))
    {
        return Err(format!("smuggled: {request:?}"));
    }
    let is_right = match case.fate {
        Fate::Refused => is_refused(heard, &requests),
        Fate::Closed => is_refused(heard, &requests) && heard.is_closed,
        Fate::BadRequest => requests.is_empty() && heard.statuses() == [400],
        // HTTP/2 responses are not parsed, so only the requests at the backend are checked.
        Fate::Forwarded => requests.len() == 1 && heard.statuses().iter().all(|status| *status == 200),
        Fate::Safe => requests.len() <= 1,
        Fate::Any => true,
        Fate::Pipelined(count) => requests.len() == count,
        Fate::Broken => is_broken(case, heard, &requests),
        Fate::Whole(data) => is_whole(heard, &requests, data),
        Fate::Early => is_early(heard, &requests),
        Fate::Odd(data) => {
            is_broken(case, heard, &requests)
                || is_whole(heard, &requests, data)
                || is_early(heard, &requests)
        }
    };
    if is_right {
        return Ok(());
    }
    let end = if heard.is_closed { "closed" } else { "left open" };
    let kept = if heard.answers.iter().any(keeps_alive) { " with keep-alive" } else { "" };
    Err(format!("answered with {:?}{kept}, {end}; the backend got {requests:?}", heard.statuses()))
}

/// Whether this request comes from the bytes that must not be read as a request.
fn is_smuggled(request: &Request) -> bool {
    request.target.contains("/smuggled") || !request.values("x-smuggled").is_empty()
}

fn is_refused(heard: &Heard, requests: &[Request]) -> bool {
    requests.is_empty() && heard.answers.iter().all(|answer| (400..600).contains(&answer.status))
}

fn is_broken(case: &Case, heard: &Heard, requests: &[Request]) -> bool {
    let is_final = heard.answers.iter().all(|answer| {
        // If only the end breaks the body, the response may be sent before that, with keep-alive.
        let is_refusal = (400..600).contains(&answer.status) && (case.ends || !keeps_alive(answer));
        // An early response of the backend may be relayed before the proxy detects the broken body.
        is_refusal || is_from_backend(answer)
    });
    requests.is_empty() && heard.answers.len() <= 1 && heard.is_closed && is_final
}

fn is_whole(heard: &Heard, requests: &[Request], data: usize) -> bool {
    let is_served = |target: &str| requests.iter().filter(|request| request.target == target).count() == 1;
    let first = requests.iter().find(|request| request.target != SECOND);
    heard.statuses() == [200, 200]
        && requests.len() == 2
        && is_served(SECOND)
        && first.is_some_and(|first| first.body == b"hello".repeat(data / 5))
}

fn is_early(heard: &Heard, requests: &[Request]) -> bool {
    let seconds = requests.iter().filter(|request| request.target == SECOND).count();
    match heard.statuses()[..] {
        // The proxy did not ask for an upgrade, so it must not relay a 101.
        [101, ..] => false,
        [_] => seconds == 0 && heard.is_closed,
        [_, 200] => seconds == 1,
        _ => false,
    }
}
