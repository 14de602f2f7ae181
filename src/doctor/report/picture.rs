//! A stream as a picture: when its events were sent, and when they arrived.

use super::WIDTH;
use crate::doctor::judge::{Pacing, duration};

/// In front of each row.
const LABEL: usize = 10;

/// Two rows of marks over one scale of time. Events that share a place are counted: `2` to `9`, and `#` for more.
pub fn picture(flow: &Pacing) -> String {
    let (columns, end) = (WIDTH - LABEL, flow.times.iter().map(|(_, at)| *at).fold(1.0, f64::max));
    let row = |times: &mut dyn Iterator<Item = f64>| {
        let mut counts = vec![0_usize; columns];
        for at in times {
            let column = (at.max(0.0) / end * (columns - 1) as f64).round() as usize;
            counts[column.min(columns - 1)] += 1;
        }
        let marks = counts.into_iter().map(|count| match count {
            0 => ' ',
            1 => '|',
            2..=9 => char::from_digit(count as u32, 10).unwrap_or('#'),
            _ => '#',
        });
        marks.collect::<String>().trim_end().to_owned()
    };
    let sent = row(&mut flow.times.iter().map(|(sent, _)| *sent));
    let arrived = row(&mut flow.times.iter().map(|(_, arrived)| *arrived));
    let scale = duration(end);
    let axis = format!("0{:>width$}", scale, width = columns - 1);
    format!("  sent    {sent}\n  arrived {arrived}\n          {axis}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::judge::Passed;

    #[test]
    fn events_that_arrive_together_share_a_place() {
        let times = (0..40).map(|n| (f64::from(n) * 50.0, f64::from((n / 20) * 20 + 19) * 50.0)).collect();
        let passed = Passed::InGroups { events: 20.0, bytes: 4000.0, ms: 1000.0 };
        let flow =
            Pacing { passed, sent: 40, arrived: 40, delay_p50: 0.0, delay_p99: 0.0, delay_max: 950.0, times };
        let picture = picture(&flow);
        let rows: Vec<_> = picture.lines().collect();
        assert_eq!(rows[0].matches('|').count(), 40, "{picture}");
        assert_eq!(rows[1].matches('#').count(), 2, "{picture}");
        assert!(rows.iter().all(|row| row.len() <= WIDTH), "{picture}");
    }
}
