//! The complete answer of each kind, in several styles, and the same answer with early ends and failures.

use super::answers::{Answer, answers};
use super::row::{End, Kind, Row};

/// Variations in how a backend writes its events.
#[derive(Clone, Copy, Debug)]
enum Style {
    AsDocumented,
    Crlf,
    Cr,
    /// With CRLF after every second line.
    MixedLineEnds,
    /// With spaces after the colons and commas of JSON, as Python writes it.
    Spaced,
    /// Without the space after `data:`.
    Tight,
    /// Without `event:` lines. The type is in the data.
    Unnamed,
    /// With the name `message` for each event, as some frameworks do. The type is in the data.
    Message,
}

impl Style {
    fn of(self, event: &str) -> String {
        match self {
            Self::AsDocumented => event.to_owned(),
            Self::Crlf => event.replace('\n', "\r\n"),
            Self::Cr => event.replace('\n', "\r"),
            Self::MixedLineEnds => {
                let ends = ["\n", "\r\n"].into_iter().cycle();
                event
                    .split_inclusive('\n')
                    .zip(ends)
                    .map(|(line, end)| line.trim_end_matches('\n').to_owned() + end)
                    .collect()
            }
            Self::Spaced => spaced(event),
            Self::Tight => event.replace("data: ", "data:").replace("event: ", "event:"),
            Self::Unnamed => {
                let lines = event.split_inclusive('\n').filter(|line| !line.starts_with("event:"));
                lines.collect()
            }
            Self::Message if event.starts_with(':') => event.to_owned(),
            Self::Message => format!("event: message\n{}", Self::Unnamed.of(event)),
        }
    }
}

/// Adds spaces outside of strings.
fn spaced(event: &str) -> String {
    let Some(begin) = event.find(['{', '[']) else { return event.to_owned() };
    let (mut spaced, mut in_string, mut after_backslash) = (event[..begin].to_owned(), false, false);
    for character in event[begin..].chars() {
        spaced.push(character);
        match character {
            '"' if !after_backslash => in_string = !in_string,
            ':' | ',' if !in_string => spaced.push(' '),
            _ => {}
        }
        after_backslash = character == '\\' && !after_backslash;
    }
    spaced
}

/// Where a stream is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    BetweenEvents,
    InsideEvent,
}

pub fn rows() -> Vec<Row> {
    answers().iter().flat_map(of_answer).collect()
}

fn of_answer(answer: &Answer) -> Vec<Row> {
    let mut styles = vec![Style::AsDocumented, Style::Crlf, Style::Spaced, Style::Tight];
    if answer.types_are_in_data {
        styles.extend([Style::Unnamed, Style::Message]);
    }
    let mut rows: Vec<Row> = styles.iter().map(|style| whole(answer, *style)).collect();
    rows.push(at_once(answer));
    if answer.ends_for_good {
        rows.extend([End::Reset, End::Closed, End::Stall].map(|end| broken_after_its_end(answer, end)));
    }
    if answer.head.kind == Kind::Events {
        for style in [Style::Cr, Style::MixedLineEnds] {
            rows.push(whole(answer, style));
            rows.extend([End::Clean, End::Reset].map(|end| cut(answer, style, end, Cut::InsideEvent)));
        }
    }
    for style in styles {
        rows.extend([End::Clean, End::Reset].map(|end| cut(answer, style, end, Cut::BetweenEvents)));
        rows.extend([End::Clean, End::Closed].map(|end| cut(answer, style, end, Cut::InsideEvent)));
    }
    let cuts = [Cut::BetweenEvents, Cut::InsideEvent];
    rows.extend(cuts.map(|at| cut(answer, Style::AsDocumented, End::Stall, at)));
    rows
}

fn row(answer: &Answer, what: &str, style: Style) -> Row {
    let row = Row::new(format!("{}, {style:?}, {what}", answer.name), answer.request.clone());
    row.head(answer.head.clone()).speaks(answer.dialect)
}

fn complete(answer: &Answer, row: Row) -> Row {
    row.counts(answer.usage.0, answer.usage.1)
}

fn whole(answer: &Answer, style: Style) -> Row {
    let events: Vec<String> = answer.events().map(|event| style.of(event)).collect();
    let row = row(answer, "whole", style).paces(events.iter().map(String::as_str));
    complete(answer, row).token_at(answer.token)
}

/// All events in one piece.
fn at_once(answer: &Answer) -> Row {
    let row = row(answer, "at once", Style::AsDocumented).sends(answer.events().collect::<String>());
    complete(answer, row).token_at(0)
}

fn broken_after_its_end(answer: &Answer, end: End) -> Row {
    let row = row(answer, &format!("and then {end:?}"), Style::AsDocumented);
    complete(answer, row.sends(answer.events().collect::<String>()).ending(end)).token_at(0)
}

/// Cut off before its end.
fn cut(answer: &Answer, style: Style, end: End, at: Cut) -> Row {
    let begun: Vec<String> = answer.begun.iter().map(|event| style.of(event)).collect();
    let mut row = row(answer, &format!("cut {at:?}: {end:?}"), style).paces(begun.iter().map(String::as_str));
    if at == Cut::InsideEvent {
        let next = style.of(&answer.end[0]);
        row = row.loses(&next[..next.len() / 2]);
    }
    row = row.ending(end).counts(answer.usage_begun.0, answer.usage_begun.1);
    let begun = u64::try_from(begun.len()).unwrap_or(u64::MAX);
    row = if answer.token < begun { row.token_at(answer.token) } else { row };
    let (code, breaks) = match end {
        // Nothing shows that more was to follow.
        End::Clean if at == Cut::BetweenEvents && !answer.requires_end => return row,
        End::Clean => ("upstream_truncated", answer.breaks_when_truncated),
        End::Reset => ("upstream_reset", answer.breaks_when_broken),
        End::Closed => ("upstream_closed", answer.breaks_when_broken),
        End::Stall => ("idle_timeout", answer.breaks_when_truncated),
    };
    let form = answer.error.clone();
    if breaks { row.raises_and_breaks(form, code) } else { row.raises(form, code) }
}
