//! What is wrong with what became of a case.

use super::case::{Case, Fate};
use super::wire::{Heard, is_from_backend, keeps_alive};
use crate::kit::strict::Request;

/// The target of the second request on a connection, where there may be one.
pub const SECOND: &str = "/second";

/// `seen`: whole requests at the backend, and what it was left in doubt by.
pub fn check(case: &Case, heard: &Heard, seen: Vec<Result<Request, String>>) -> Result<(), String> {
    let requests = seen.into_iter().collect::<Result<Vec<_>, _>>();
    let requests = requests.map_err(|doubt| format!("the backend was left in doubt: {doubt}"))?;
    // Where the request itself says so, it is not smuggled.
    if !case.name.starts_with("Connection: ")
        && let Some(request) = requests.iter().find(|request| is_smuggled(request))
    {
        return Err(format!("smuggled: {request:?}"));
    }
    let is_right = match case.fate {
        Fate::Refused => is_refused(heard, &requests),
        Fate::Closed => is_refused(heard, &requests) && heard.is_closed,
        Fate::BadRequest => requests.is_empty() && heard.statuses() == [400],
        // Answers over HTTP/2 are not read; what the backend saw is what counts.
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
    Err(format!("answered {:?}{kept} and {end}, seen {requests:?}", heard.statuses()))
}

/// A query or fragment apart, the target is the one that was asked for.
fn is_smuggled(request: &Request) -> bool {
    request.target.contains("/smuggled") || !request.values("x-smuggled").is_empty()
}

fn is_refused(heard: &Heard, requests: &[Request]) -> bool {
    requests.is_empty() && heard.answers.iter().all(|answer| (400..600).contains(&answer.status))
}

fn is_broken(case: &Case, heard: &Heard, requests: &[Request]) -> bool {
    let is_final = heard.answers.iter().all(|answer| {
        // A body that is broken by its end only may be meant to be read when the answer goes out.
        let is_refusal = (400..600).contains(&answer.status) && (case.ends || !keeps_alive(answer));
        // What the backend answers early may go out before the break is seen.
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
        // It was not asked for, so nobody can have agreed to it.
        [101, ..] => false,
        [_] => seconds == 0 && heard.is_closed,
        [_, 200] => seconds == 1,
        _ => false,
    }
}
