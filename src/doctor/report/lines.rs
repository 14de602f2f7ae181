//! Prints one line for each test while the probe runs.

use std::time::Duration;

use super::{Colours, NAME, WIDTH, short, wrapped};
use crate::doctor::judge::{Figures, Pacing, Passed, PointSeen, duration, number};
use crate::doctor::probe::{Onlooker, Test};

/// The width of the mark in front of the name of a point.
const MARK: usize = 5;

/// The width of the column with the text of a test.
const WHAT: usize = 29;

/// The least width of the result column.
const LEAST: usize = 22;

/// Prints the line of a test as soon as it is made.
pub struct Lines<F: Fn(&str)> {
    pub print: F,
    pub colours: Colours,
    /// Whether the elapsed time may be shown and erased again.
    pub is_terminal: bool,
    /// The widest name of a point.
    pub name_width: usize,
}

impl<F: Fn(&str)> Lines<F> {
    /// Takes away what tells how long it has been running.
    fn erase(&self) -> &'static str {
        if self.is_terminal { "\r\x1b[2K" } else { "" }
    }

    fn line(&self, point: &PointSeen, what: &str, is_good: bool, result: &str) {
        let mark = if is_good { self.colours.good("ok  ") } else { self.colours.bad("look") };
        let width = self.name_width.min(NAME);
        let begin = format!("{:width$}  {what:WHAT$}  ", short(&point.name));
        let indent = MARK + begin.chars().count();
        let rest = WIDTH.saturating_sub(indent).max(LEAST);
        for (index, line) in wrapped(result, rest).iter().enumerate() {
            match index {
                0 => (self.print)(&format!("{}{mark} {begin}{line}\n", self.erase())),
                _ => (self.print)(&format!("{:indent$}{line}\n", "")),
            }
        }
    }
}

impl<F: Fn(&str)> Onlooker for Lines<F> {
    fn has_run_for(&self, time: Duration) {
        if self.is_terminal {
            (self.print)(&format!("{}     … {} s", self.erase(), time.as_secs()));
        }
    }

    fn is_over(&self) {
        (self.print)(self.erase());
    }

    fn reached(&self, point: &PointSeen) {
        match &point.echo {
            Ok(echo) => self.line(point, "the origin is reached", true, &format!("in {}", echo.version)),
            Err(why) => self.line(point, "the origin is not reached", false, why),
        }
    }

    fn seen(&self, point: &PointSeen, test: &Test) {
        let (is_good, result) = match point.tests.get(test.id) {
            Some(Ok(shown)) => result(shown),
            Some(Err(failure)) => (false, format!("cannot be made: {failure}")),
            None => return,
        };
        self.line(point, test.what, is_good, &result);
    }
}

/// Whether this is as it should be, in a few words.
fn result(shown: &Figures) -> (bool, String) {
    match shown {
        Figures::Stream(stream) => {
            let coding = stream.content_coding.as_ref().map_or(String::new(), |coding| format!(", {coding}"));
            let late = if stream.has_late_head() { ", head late" } else { "" };
            (stream.is_flawless(), format!("{}{late}{coding}", passed(&stream.flow)))
        }
        Figures::Heartbeats(beats) => (beats.is_prompt(), passed(beats)),
        Figures::Sample(sample) => match &sample.first_difference {
            None => (true, format!("all {} bytes", number(sample.bytes as f64))),
            Some(difference) => (false, format!("altered at byte {}", number(difference.offset as f64))),
        },
        Figures::Ending(end) => {
            let told = if end.has_error_event { " with an error event" } else { "" };
            let how = if end.has_ended { format!("ends {}", end.ended) } else { "does not end".to_owned() };
            (!end.is_hidden(), format!("{how}{told}"))
        }
        Figures::Leaving(left) => match left.known_after {
            Some(after) => (true, format!("known after {}", duration(after))),
            None => (false, format!("not known within {}", duration(left.waited))),
        },
        Figures::AtOnce(streams) if streams.is_limited_by_settings() => {
            (streams.is_enough(), format!("{} over {}, its limit", streams.ran, streams.version))
        }
        Figures::AtOnce(streams) => {
            let ran = format!("{} of {} over {}", streams.ran, streams.wanted, streams.version);
            (streams.is_enough(), ran)
        }
        Figures::Preflight(preflight) => match &preflight.missing {
            None => (true, format!("status {}", preflight.status)),
            Some(missing) => (false, missing.clone()),
        },
        Figures::Silences(seen) => {
            let cut =
                |cut: Option<f64>| cut.map_or("no cut".to_owned(), |cut| format!("cut at {}", duration(cut)));
            let [head, stream, beats] = [seen.head_cut, seen.stream_cut, seen.heartbeats_cut].map(cut);
            let is_good = [seen.head_cut, seen.stream_cut, seen.heartbeats_cut].iter().all(Option::is_none);
            (is_good, format!("head {head}, stream {stream}, with heartbeats {beats}"))
        }
    }
}

fn passed(flow: &Pacing) -> String {
    match flow.passed {
        Passed::Promptly if flow.arrived < flow.sent => format!("{} of {} came", flow.arrived, flow.sent),
        Passed::Promptly => format!("prompt, up to {} late", duration(flow.delay_max)),
        Passed::InGroups { events, .. } => {
            format!("in groups of {events:.0}, up to {} late", duration(flow.delay_max))
        }
        Passed::AtTheEnd => format!("all at the end, up to {} late", duration(flow.delay_max)),
        Passed::Torn => "torn".to_owned(),
        Passed::NotAtAll => format!("{} of {} came", flow.arrived, flow.sent),
    }
}
