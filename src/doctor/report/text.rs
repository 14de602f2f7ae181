//! The findings, for people.

use super::answer::verdict;
use super::{Colours, WIDTH, picture, short, wrapped};
use crate::doctor::finding_id::Severity;
use crate::doctor::judge::{ANY, AnswerSeen, AnswerVerdict, CANNOT_TELL, Finding, FindingRemedy, PointSeen};

/// Findings that are told: who mends these sees the others afterwards.
const AT_MOST: usize = 5;

/// Remedies that are told of one finding: where no hop shows itself, there may be many.
const REMEDIES: usize = 3;

/// What was found, the worst first, with what to write; and a picture of the first stream that was held back.
pub fn report(points: &[PointSeen], findings: &[Finding], colours: Colours) -> String {
    let mut text = String::new();
    if findings.is_empty() {
        return format!("{}: events come as they are sent.\n", colours.good("Nothing found"));
    }
    if let Some(picture) = picture_of(points) {
        text.push_str(&picture);
        text.push('\n');
    }
    text + &numbered(findings, colours)
}

/// Likewise of a probe that was interrupted.
pub fn interrupted_report(points: &[PointSeen], findings: &[Finding], colours: Colours) -> String {
    match findings {
        [] => "Interrupted: nothing found in the tests that were made.\n".to_owned(),
        findings => {
            format!(
                "Interrupted: this is what the tests have shown that were made.\n\n{}",
                report(points, findings, colours)
            )
        }
    }
}

/// What was found in real answers, and what cannot be.
pub fn answers_report(
    seen: &[(String, Result<AnswerSeen, String>)],
    findings: &[Finding],
    colours: Colours,
) -> String {
    let mut text = numbered(findings, colours);
    let bad = seen.iter().filter_map(|(point, answer)| {
        // What is refused or cut short is a finding as well.
        let is_found = |verdict| {
            matches!(verdict, AnswerVerdict::Complete | AnswerVerdict::Refused | AnswerVerdict::Truncated)
        };
        let seen = answer.as_ref().ok().filter(|seen| !is_found(seen.verdict))?;
        Some(format!("No good answer at {point}: {}.", verdict(seen)))
    });
    let bad: Vec<_> = bad.collect();
    if findings.is_empty() && bad.is_empty() {
        text = format!("{} in what can be seen from here.\n", colours.good("Nothing found"));
    }
    bad.iter().for_each(|bad| paragraph(&mut text, bad, ""));
    paragraph(&mut text, CANNOT_TELL, "");
    text
}

fn numbered(findings: &[Finding], colours: Colours) -> String {
    let mut text = String::new();
    for (index, finding) in findings.iter().take(AT_MOST).enumerate() {
        describe(&mut text, index + 1, finding, colours);
        let told = told_remedies(finding);
        let is_same = |earlier: &Finding| !told.is_empty() && told_remedies(earlier) == told;
        match findings[..index].iter().position(is_same) {
            Some(earlier) => {
                paragraph(&mut text, &format!("What mends {} mends this too.", earlier + 1), "   ")
            }
            None => remedies(&mut text, finding, &told),
        }
        text.push('\n');
    }
    if let Some(more @ 1..) = findings.len().checked_sub(AT_MOST) {
        text.push_str(&format!("And {more} more, which `--json` has. Mend these first.\n"));
    }
    text
}

fn picture_of(points: &[PointSeen]) -> Option<String> {
    let streams = ["stream_200b", "stream_12b", "post", "browser"];
    let held = points.iter().find_map(|point| {
        let id = streams.iter().find(|id| point.stream(id).is_some_and(|stream| stream.flow.is_held()))?;
        Some((point, *id, point.stream(id)?))
    });
    let (point, id, stream) = held?;
    Some(format!("{id} at {}:\n{}", short(&point.name), picture(&stream.flow)))
}

fn describe(text: &mut String, number: usize, finding: &Finding, colours: Colours) {
    let severity = match finding.severity {
        Severity::Error => colours.bad("error"),
        Severity::Warning => colours.doubtful("warning"),
        Severity::Info => "info".to_owned(),
    };
    let [from, to] = &finding.between;
    let between = format!("between {} and {}", short(from), short(to));
    let id = finding.id.as_str();
    let width = format!("{number}. {} {id}: {between}", finding.severity.as_str()).chars().count();
    // With colours it is no wider.
    let space = if width > WIDTH { "\n   " } else { " " };
    text.push_str(&format!("{number}. {severity} {}:{space}{between}\n", colours.strong(id)));
    paragraph(text, &sentence(&finding.summary), "   ");
    if !finding.hops.is_empty() {
        let hops: Vec<_> = finding.hops.iter().map(|hop| format!("{} ({})", hop.name, hop.sign)).collect();
        paragraph(text, &format!("Seen there: {}.", hops.join(", ")), "   ");
    }
}

/// The remedies that are worth telling: of a hop that is known, its own. At one that nobody knows, what helps anywhere comes first.
fn told_remedies(finding: &Finding) -> Vec<&FindingRemedy> {
    let (anywhere, own): (Vec<_>, Vec<_>) =
        finding.remedy.iter().partition(|remedy: &&FindingRemedy| remedy.product == ANY);
    match (finding.hops.is_empty(), own.is_empty()) {
        (false, false) => own,
        _ => [anywhere, own].concat(),
    }
}

fn remedies(text: &mut String, finding: &Finding, told: &[&FindingRemedy]) {
    told.iter().take(REMEDIES).for_each(|remedy| advice(text, remedy));
    let more = told.len().saturating_sub(REMEDIES);
    if more > 0 && finding.hops.is_empty() {
        paragraph(text, "What to write at other hops is in the output of `--json`.", "   ");
    }
}

/// What to write, and where.
fn advice(text: &mut String, remedy: &FindingRemedy) {
    let place = match remedy.product.as_str() {
        ANY => remedy.place.clone(),
        product => format!("{product}, {}", remedy.place),
    };
    let note = remedy.note.as_deref().unwrap_or_default();
    let Some(write) = &remedy.write else {
        return paragraph(text, &format!("{}: {note}", sentence(&place).trim_end_matches('.')), "   ");
    };
    paragraph(text, &format!("Write in {place}:"), "   ");
    for line in write.lines() {
        text.push_str(&format!("       {line}\n"));
    }
    paragraph(text, note, "   ");
}

fn paragraph(text: &mut String, words: &str, indent: &str) {
    for line in wrapped(words, WIDTH - indent.len()) {
        text.push_str(indent);
        text.push_str(&line);
        text.push('\n');
    }
}

/// With a capital, and a full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
