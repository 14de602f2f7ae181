//! Whether events came as they were sent, or were held back.

use serde::Serialize;

use super::arrivals::{Arrival, Millis};

/// Events that arrive closer to each other than this share of the time between their writes came together.
const TOGETHER: f64 = 0.3;

/// The share of events that must have come together with others for a hop to be suspected: a machine that is busy for a moment
/// bundles a few.
const HELD_SHARE: f64 = 0.6;

/// The share of events whose end must have waited for the next one.
const TORN_SHARE: f64 = 0.5;

/// What comes at once, in milliseconds.
const AT_ONCE: Millis = 3.0;

/// How a stream was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "passed", rename_all = "snake_case")]
pub enum Passed {
    /// As it was sent.
    Promptly,
    /// In groups: of so many events, bytes and milliseconds (medians).
    InGroups { events: f64, bytes: f64, ms: Millis },
    /// Nothing before all had been sent.
    AtTheEnd,
    /// The end of an event only with the beginning of the next one.
    Torn,
    /// Fewer than half of the events arrived.
    NotAtAll,
}

/// The figures of a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pacing {
    #[serde(flatten)]
    pub passed: Passed,
    /// Events sent, and arrived whole.
    pub sent: usize,
    pub arrived: usize,
    /// How much later than the promptest event the others came, in milliseconds.
    pub delay_p50: Millis,
    pub delay_p99: Millis,
    pub delay_max: Millis,
    /// When each event was sent and when it arrived, both since the first one was sent, on the assumption that the promptest one
    /// took no time.
    #[serde(skip)]
    pub times: Vec<(Millis, Millis)>,
}

impl Pacing {
    pub fn is_prompt(&self) -> bool {
        self.passed == Passed::Promptly
    }

    pub fn is_held(&self) -> bool {
        matches!(self.passed, Passed::InGroups { .. } | Passed::AtTheEnd)
    }
}

/// Compares when events were written with when they arrived. `sent`: by number.
pub fn flow(sent: &[Millis], arrivals: &[Arrival]) -> Pacing {
    let numbered = arrivals.iter().filter_map(|arrival| Some((arrival.number?, arrival)));
    let came: Vec<(Millis, &Arrival)> =
        numbered.filter_map(|(number, arrival)| Some((*sent.get(number)?, arrival))).collect();
    let promptest = came.iter().map(|(sent, arrival)| arrival.at - sent).fold(f64::INFINITY, f64::min);
    let began = sent.first().copied().unwrap_or_default();
    let times: Vec<_> =
        came.iter().map(|(sent, arrival)| (sent - began, arrival.at - promptest - began)).collect();
    let mut delays: Vec<_> = times.iter().map(|(sent, arrived)| arrived - sent).collect();
    delays.sort_by(f64::total_cmp);
    Pacing {
        passed: passed(sent, &came, &times),
        sent: sent.len(),
        arrived: came.len(),
        delay_p50: percentile(&delays, 0.5),
        delay_p99: percentile(&delays, 0.99),
        delay_max: percentile(&delays, 1.0),
        times,
    }
}

fn passed(sent: &[Millis], came: &[(Millis, &Arrival)], times: &[(Millis, Millis)]) -> Passed {
    if came.len() * 2 < sent.len() || came.is_empty() {
        return Passed::NotAtAll;
    }
    let gap = median(times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect());
    let last_sent = times.last().map_or(0.0, |(sent, _)| *sent);
    let first_came = times.first().map_or(0.0, |(_, arrived)| *arrived);
    if came.len() > 2 && first_came > last_sent - gap {
        return Passed::AtTheEnd;
    }
    let groups = groups(times, gap);
    let grouped: usize = groups.iter().map(|group| group.len()).filter(|length| *length > 1).sum();
    if grouped as f64 >= HELD_SHARE * times.len() as f64 {
        return in_groups(&groups, came, times);
    }
    let torn = came.windows(2).filter(|pair| {
        let [(_, event), (_, next)] = pair else { return false };
        // On a slow way its bytes come one after the other, and without a pause.
        event.pause > gap / 2.0 && event.at >= next.first_at - AT_ONCE
    });
    if torn.count() as f64 >= TORN_SHARE * (times.len() - 1) as f64 { Passed::Torn } else { Passed::Promptly }
}

/// Runs of events that came together though they were not sent together.
fn groups(times: &[(Millis, Millis)], gap: Millis) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for next in 1..=times.len() {
        let is_together = times.get(next).is_some_and(|(sent, at)| {
            at - times[next - 1].1 < TOGETHER * (sent - times[next - 1].0).max(gap / 2.0)
        });
        if !is_together {
            groups.push(start..next);
            start = next;
        }
    }
    groups
}

/// The last group is released by the end of the stream, whatever its size.
fn in_groups(
    groups: &[std::ops::Range<usize>],
    came: &[(Millis, &Arrival)],
    times: &[(Millis, Millis)],
) -> Passed {
    let whole = if groups.len() > 1 { &groups[..groups.len() - 1] } else { groups };
    let released = |group: &std::ops::Range<usize>| times[group.end - 1].1;
    let bytes =
        |group: &std::ops::Range<usize>| came[group.clone()].iter().map(|(_, a)| a.bytes).sum::<usize>();
    Passed::InGroups {
        events: median(whole.iter().map(|group| group.len() as f64).collect()),
        bytes: median(whole.iter().map(|group| bytes(group) as f64).collect()),
        ms: median(groups.windows(2).map(|pair| released(&pair[1]) - released(&pair[0])).collect()),
    }
}

/// 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// Of sorted values; 0 of nothing.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: f64 = 50.0;

    fn sent() -> Vec<Millis> {
        (0..40).map(|n| 300.0 + EVERY * f64::from(n)).collect()
    }

    /// `at`: when the event of this number arrives, by the origin's clock. The probe's is another one.
    fn judged(size: usize, at: impl Fn(usize, Millis) -> Millis) -> Pacing {
        let arrivals: Vec<_> = sent()
            .iter()
            .enumerate()
            .map(|(n, sent)| {
                let at = at(n, *sent) + 7.0;
                Arrival { number: Some(n), is_comment: false, bytes: size, first_at: at, at, pause: 0.0 }
            })
            .collect();
        flow(&sent(), &arrivals)
    }

    #[test]
    fn a_prompt_stream_may_jitter_and_stall_for_a_moment() {
        let jitter = |n: usize| (n * 7919 % 23) as f64;
        assert_eq!(judged(200, |n, sent| sent + jitter(n)).passed, Passed::Promptly);
        // The machine is busy for 400 ms.
        let stalled = judged(200, |n, sent| {
            sent.max(if (10..20).contains(&n) { 1200.0 } else { 0.0 }) + jitter(n) / 10.0
        });
        assert_eq!(stalled.passed, Passed::Promptly);
        assert!(stalled.delay_max > 300.0);
    }

    #[test]
    fn what_is_released_at_a_number_of_bytes_comes_in_groups_of_that_size() {
        // 4,096 bytes are 20 events of 200 bytes and a bit.
        let held = judged(200, |n, _| sent()[((n / 20) * 20 + 19).min(39)]);
        let Passed::InGroups { events, bytes, ms } = held.passed else { panic!("{held:?}") };
        assert_eq!((events, bytes, ms.round()), (20.0, 4000.0, 1000.0));
        assert!(held.delay_max > 900.0);
    }

    #[test]
    fn pairs_are_groups_too() {
        let held = judged(12, |n, _| sent()[n | 1]);
        assert!(matches!(held.passed, Passed::InGroups { events: 2.0, .. }), "{held:?}");
    }

    #[test]
    fn what_comes_when_all_was_sent_comes_at_the_end() {
        assert_eq!(judged(12, |_, _| sent()[39] + 1.0).passed, Passed::AtTheEnd);
    }

    #[test]
    fn an_event_whose_end_waits_for_the_next_one_is_torn() {
        let arrivals: Vec<_> = sent()
            .iter()
            .enumerate()
            .map(|(n, sent)| {
                let at = sent + EVERY;
                Arrival {
                    number: Some(n),
                    is_comment: false,
                    bytes: 16384,
                    first_at: *sent,
                    at,
                    pause: EVERY,
                }
            })
            .collect();
        assert_eq!(flow(&sent(), &arrivals).passed, Passed::Torn);
    }

    #[test]
    fn a_slow_way_tears_nothing() {
        // 3 Mbit/s: each event takes 43 of 50 ms, and comes byte by byte.
        let arrival = |(n, first_at): (usize, Millis)| {
            let at = first_at + 43.0;
            Arrival { number: Some(n), is_comment: false, bytes: 16384, first_at, at, pause: 4.0 }
        };
        let arrivals: Vec<_> = sent().into_iter().enumerate().map(arrival).collect();
        assert_eq!(flow(&sent(), &arrivals).passed, Passed::Promptly);
    }

    #[test]
    fn a_stream_of_which_half_is_missing_has_not_arrived() {
        assert_eq!(flow(&sent(), &[]).passed, Passed::NotAtAll);
    }
}
