//! What a real answer has shown.

use serde_json::{Value, json};

use super::{WIDTH, wrapped};
use crate::doctor::judge::{AnswerSeen, AnswerVerdict, Finding, duration, number};
use crate::doctor::probe::MAX_BODY;

/// A few lines about the answer that a point gave.
pub fn answer(point: &str, answer: &Result<AnswerSeen, String>) -> String {
    let seen = match answer {
        Ok(seen) => seen,
        Err(why) => return wrapped(&format!("{point}: no answer: {why}"), WIDTH).join("\n") + "\n\n",
    };
    let at = |ms: Option<f64>| ms.map_or("none".to_owned(), duration);
    let mut facts = vec![
        ("answer", format!("status {}, {}, {}", seen.status, media_type(seen), seen.dialect)),
        ("head", format!("after {}", duration(seen.head_at))),
    ];
    if seen.is_stream {
        facts.push((
            "first event",
            format!("after {}, first token {}", at(seen.first_event_at), at(seen.first_token_at)),
        ));
        facts.push((
            "events",
            format!(
                "{} of {} B (largest {} B), in groups of {:.0}; {} comments, {} in fragments",
                seen.events,
                number(seen.event_bytes_p50),
                number(seen.event_bytes_max),
                seen.group,
                seen.comments,
                seen.torn
            ),
        ));
        let [p50, p99, max] = [seen.gap_p50, seen.gap_p99, seen.gap_max].map(duration);
        facts.push(("gaps", format!("p50 {p50}, p99 {p99}, longest {max}")));
    }
    if let Some(rate) = seen.tokens_per_second.filter(|_| seen.is_stream) {
        let of =
            if seen.output_tokens.is_some() { "tokens/s" } else { "events/s; the backend counts no tokens" };
        facts.push(("pace", format!("{rate:.1} {of}")));
    }
    facts.push(("end", format!("{} after {}", seen.ended, duration(seen.ended_at))));
    facts.push(("verdict", verdict(seen)));
    let mut text = format!("{point}\n");
    for (name, fact) in facts {
        for (index, line) in wrapped(&fact, WIDTH - 16).iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            text.push_str(&format!("  {name:12}  {line}\n"));
        }
    }
    text.push('\n');
    text
}

fn media_type(seen: &AnswerSeen) -> &str {
    if seen.content_type.is_empty() { "no Content-Type" } else { &seen.content_type }
}

/// What an answer is worth, in a few words.
pub fn verdict(seen: &AnswerSeen) -> String {
    let begins =
        || seen.body_begins.as_ref().map_or(String::new(), |begins| format!(", which begins with {begins}"));
    let though = if seen.asked_for_stream { ", though the request asks for one" } else { "" };
    match seen.verdict {
        AnswerVerdict::Complete => "a complete answer that came as a stream".to_owned(),
        AnswerVerdict::Refused => format!("refused: {}", seen.refusal()),
        AnswerVerdict::NotAStream => format!("not a stream{though}: {}{}", media_type(seen), begins()),
        AnswerVerdict::NoEvents => "no events".to_owned(),
        AnswerVerdict::ReportedError => "an error that the backend, or a proxy, reports".to_owned(),
        AnswerVerdict::Truncated => "cut short, though it ended like a complete one".to_owned(),
        AnswerVerdict::Broken => "broken off".to_owned(),
        AnswerVerdict::StillRunning => "still running when it was no longer watched".to_owned(),
        AnswerVerdict::TooLarge => format!("more than {} MiB, and not watched to its end", MAX_BODY >> 20),
    }
}

/// The report as JSON, in the form of a probe's report.
pub fn answers_json(
    urls: &[String],
    seen: &[(String, Result<AnswerSeen, String>)],
    findings: &[Finding],
) -> Value {
    let points: Vec<_> = urls
        .iter()
        .zip(seen)
        .map(|(url, (name, _))| {
            let url = url.strip_prefix(&format!("{name}=")).unwrap_or(url);
            json!({ "name": name, "url": url })
        })
        .collect();
    let tests = seen.iter().map(|(name, answer)| {
        let (result, figures) = match answer {
            Ok(seen) => ("made", json!(seen)),
            Err(why) => ("failed", json!({ "why": why })),
        };
        super::json::test("answer", name, result, figures)
    });
    super::json::rounded(
        json!({ "points": points, "tests": tests.collect::<Vec<_>>(), "findings": findings }),
    )
}
