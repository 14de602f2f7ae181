//! How much silence a chain allows: three streams at the same time, each watched until it is cut.

use std::time::Duration;

use http::Method;

use super::measure::run_id;
use super::observe::{Leave, Observation, ResponseEnd, observe};
use super::origin_api::OriginApi;
use crate::doctor::judge::{Millis, NotMade, SilencesSeen, Units, arrivals};

/// A stream is ordered to last this much longer than it is watched, so that its own end is not taken for a cut.
const LONGER: Duration = Duration::from_secs(60);

/// The heartbeat interval: shorter than any limit of silence that would be usable.
const BEAT: Duration = Duration::from_secs(1);

/// Data that arrives within this time before the end of a stream came with the end, in milliseconds.
const AT_THE_CUT: Millis = 100.0;

impl OriginApi<'_> {
    /// Watches three silent streams until `limit`.
    pub async fn silences(&self, limit: Duration) -> Result<SilencesSeen, NotMade> {
        let lasting = (limit + LONGER).as_millis();
        let beats = lasting / BEAT.as_millis();
        let silent_head = format!("events=1&head_after={lasting}");
        let silent_stream = format!("events=1&first_after=0&last_for={lasting}");
        let heartbeats =
            format!("events={beats}&every={}&first_after=0&shape=comments&size=64", BEAT.as_millis());
        let (head, stream, heartbeats) = tokio::join!(
            self.watched(&silent_head, limit),
            self.watched(&silent_stream, limit),
            self.watched(&heartbeats, limit)
        );
        if let Some(trouble) = [&head, &stream, &heartbeats].into_iter().find_map(|seen| seen.trouble.clone())
        {
            return Err(trouble.into());
        }
        let is_cut =
            |seen: &Observation| !matches!(seen.ended, ResponseEnd::Left | ResponseEnd::StillRunning);
        let cut = |seen: &Observation, since: Millis| is_cut(seen).then_some(seen.ended_at - since);
        let came = arrivals(&heartbeats.body, &heartbeats.reads, Units::Events);
        let beats = came.iter().filter(|beat| beat.at < heartbeats.ended_at - AT_THE_CUT).count();
        // If a hop holds heartbeats back, this stream was silent like the others.
        let is_beaten = beats as f64 * BEAT.as_secs_f64() * 2000.0 >= heartbeats.ended_at;
        // Data that comes with the cut was held back until then.
        let first =
            stream.reads.first().map(|first| first.at).filter(|at| *at < stream.ended_at - AT_THE_CUT);
        // A hop that gives up before the head says so in a response of its own. A success is no such response: a hop has begun
        // the stream early, with heartbeats.
        let refusal = head.status().filter(|status| !(200..300).contains(status));
        Ok(SilencesSeen {
            watched: limit.as_secs_f64() * 1000.0,
            head_cut: refusal.and(head.head_at).or(cut(&head, 0.0)),
            head_status: refusal,
            stream_cut: cut(&stream, first.unwrap_or_default()),
            heartbeats_cut: cut(&heartbeats, 0.0).filter(|_| is_beaten),
            beats,
        })
    }

    async fn watched(&self, order: &str, limit: Duration) -> Observation {
        let mut ask = self.order(order, Method::GET, &[("Accept", "text/event-stream")], None, limit);
        ask.query = format!("{}&run={}", ask.query, run_id());
        ask.leave = Some(Leave { after_events: usize::MAX, after: limit });
        observe(self.point, &ask).await
    }
}
