//! A WebSocket after its 101: bytes are copied both ways, whatever they mean.
//!
//! Each side's reading goes no further than the other one's writing (backpressure), and an end of one side is passed on and the other
//! way runs on (half-close). Nothing is kept for a tunnel that waits.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};

use super::clock::FAR;
use super::exchange::{Ended, Exchange, Kind, Raised};
use super::prefill::Switched;
use crate::downstream::{Client, ClientLost, Http1 as Downstream};
use crate::outcome::{Outcome, Phase, UpstreamFault};
use crate::upstream::Http1 as Upstream;

/// Bytes of one way that wait to be written, beside what one read adds.
const MAX_WAITING: usize = 32 * 1024;

/// How long a side may go on in silence when the other one has ended: a WebSocket of which only one way is left has nothing more to
/// say (RFC 6455, 7.1.1).
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Runs a tunnel to its end.
pub async fn run(client: &mut Client, exchange: Box<Exchange<'_>>, switched: Switched) -> Ended {
    let status = Some(StatusCode::SWITCHING_PROTOCOLS);
    let kind = Kind::WebSocket { received: 0 };
    exchange.record.set_phase(Phase::Tunnel);
    if let Err(lost) = client.switch_protocols(&switched.head).await {
        let outcome = exchange.cancel(switched.connection, lost, Phase::Tunnel).await;
        client.abandon();
        return Ended { outcome, status: None, kind };
    }
    let active = Raised::new(&exchange.route.metrics.websockets_active);
    let (Some(downstream), Some(upstream)) = (client.as_http1(), switched.connection.into_http1()) else {
        // Upgrades are of HTTP/1.1 on both sides.
        return Ended { outcome: Outcome::Upstream(UpstreamFault::Invalid), status, kind };
    };
    let mut tunnel = Tunnel::new(downstream, upstream, &exchange);
    let end = tunnel.run().await;
    let (received, upstream) = (tunnel.received, tunnel.upstream);
    let outcome = match end {
        End::Completed => Outcome::Completed,
        End::Client(lost) => exchange.cancel(upstream, lost, Phase::Tunnel).await,
        End::Upstream(fault) => {
            drop(upstream);
            if fault == UpstreamFault::Reset {
                let (route, upstream) = (&exchange.route.config.name, &*exchange.record.upstream);
                let request_id = &exchange.record.request_id;
                tracing::warn!(route, upstream, request_id, "the backend broke a WebSocket");
            }
            Outcome::Upstream(fault)
        }
    };
    match outcome {
        // A client sees a reset where its backend sent one.
        Outcome::ClientGone(_) | Outcome::SlowReader | Outcome::Upstream(UpstreamFault::Reset) => {
            client.abandon()
        }
        _ => client.end_tunnel(),
    }
    drop(active);
    Ended { outcome, status, kind: Kind::WebSocket { received } }
}

/// Why a tunnel is over.
enum End {
    /// Both sides have ended, or one has, and the other one had nothing to add.
    Completed,
    Client(ClientLost),
    Upstream(UpstreamFault),
}

/// How far one way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Its source has ended; what is left is written, and then the end is passed on.
    Ending,
    Ended,
}

struct Tunnel<'a> {
    downstream: &'a mut Downstream,
    upstream: Upstream,
    exchange: &'a Exchange<'a>,
    /// From the client to the backend.
    up: Way,
    /// From the backend to the client.
    down: Way,
    received: u64,
    /// When something was last taken by either side.
    last_activity: Instant,
    /// Since when the client takes nothing of what is there for it.
    stalled: Option<Instant>,
}

impl<'a> Tunnel<'a> {
    fn new(downstream: &'a mut Downstream, upstream: Upstream, exchange: &'a Exchange<'a>) -> Self {
        Self {
            downstream,
            upstream,
            exchange,
            up: Way::Open,
            down: Way::Open,
            received: 0,
            last_activity: Instant::now(),
            stalled: None,
        }
    }

    async fn run(&mut self) -> End {
        let end_of_all = self.exchange.end_of_all;
        let (mut timer, mut end) = (pin!(sleep_until(Instant::now())), pin!(end_of_all.wait()));
        let mut limits = self.limits();
        poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx) {
                return Poll::Ready(end);
            }
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Upstream(UpstreamFault::ShuttingDown));
            }
            // Otherwise set anew only when it fires, whatever has moved meanwhile.
            if std::mem::replace(&mut limits, self.limits()) != limits {
                timer.as_mut().reset(Instant::now());
            }
            while timer.as_mut().poll(cx).is_ready() {
                match self.next_due(Instant::now()) {
                    Ok(next) => timer.as_mut().reset(next),
                    Err(end) => return Poll::Ready(end),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Which limits there are beside those that always hold: the client takes nothing, and one way has ended.
    fn limits(&self) -> (bool, bool) {
        (self.stalled.is_some(), self.up == Way::Ended || self.down == Way::Ended)
    }

    /// When a limit is reached next, or what it is if one is reached now.
    fn next_due(&self, now: Instant) -> Result<Instant, End> {
        let policy = self.exchange.policy();
        let idle = policy.websocket_idle_timeout.map(|limit| self.last_activity + limit);
        let whole = policy.max_duration.map(|limit| self.exchange.started + limit);
        let last_words = self.limits().1.then(|| self.last_activity + LAST_WORDS);
        let slow = self.stalled.zip(policy.write_timeout).map(|(since, limit)| since + limit);
        let due = [
            (slow, End::Client(ClientLost::Slow)),
            (last_words, End::Completed),
            (idle, End::Upstream(UpstreamFault::IdleTimeout)),
            (whole, End::Upstream(UpstreamFault::MaxDuration)),
        ];
        let mut next = now + FAR;
        for (at, end) in due {
            match at {
                Some(at) if at <= now => return Err(end),
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        Ok(next)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let (up, down) = match (self.poll_up(cx), self.poll_down(cx)) {
                (Err(end), _) | (_, Err(end)) => return Poll::Ready(self.judged(end)),
                (Ok(up), Ok(down)) => (up, down),
            };
            if self.up == Way::Ended && self.down == Way::Ended {
                return Poll::Ready(End::Completed);
            }
            if !up && !down {
                return Poll::Pending;
            }
        }
    }

    /// A side that breaks when it has ended already breaks nothing.
    fn judged(&self, end: End) -> End {
        match end {
            End::Client(ClientLost::Gone) if self.up != Way::Open => End::Completed,
            End::Upstream(UpstreamFault::Reset) if self.down != Way::Open => End::Completed,
            end => end,
        }
    }

    /// Copies from the client to the backend what can be copied now; returns whether that was something.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let (downstream, upstream) = (&mut *self.downstream, &mut self.upstream);
        let broken = |_| End::Upstream(UpstreamFault::Reset);
        let mut has_moved = false;
        let input = downstream.input();
        if !input.is_empty()
            && let Poll::Ready(written) = Pin::new(upstream.writer()).poll_write(cx, input)
        {
            let written = written.map_err(broken)?;
            let _ = downstream.take_input(written);
            let now = Instant::now();
            self.received += written as u64;
            self.exchange.record.add(0, 0, now);
            self.exchange.route.metrics.websocket_received.inc_by(written as u64);
            self.last_activity = now;
            has_moved = true;
        }
        if self.up == Way::Open
            && downstream.input().len() < MAX_WAITING
            && let Poll::Ready(read) = downstream.poll_fill(cx)
        {
            if is_end(read).map_err(|_| End::Client(ClientLost::Gone))? {
                self.up = Way::Ending;
            }
            has_moved = true;
        }
        let is_through = match upstream.writer().poll_drain(cx) {
            Poll::Ready(drained) => drained.map(|()| true).map_err(broken)?,
            Poll::Pending => false,
        };
        if self.up == Way::Ending
            && is_through
            && downstream.input().is_empty()
            && let Poll::Ready(shut) = Pin::new(upstream.writer()).poll_shutdown(cx)
        {
            shut.map_err(broken)?;
            self.up = Way::Ended;
            has_moved = true;
        }
        Ok(has_moved)
    }

    /// Copies from the backend to the client what can be copied now; returns whether that was something.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let (downstream, upstream) = (&mut *self.downstream, &mut self.upstream);
        let gone = |_| End::Client(ClientLost::Gone);
        let mut has_moved = false;
        let input = upstream.input();
        if !input.is_empty() {
            match downstream.poll_write(cx, &[IoSlice::new(input)]) {
                Poll::Ready(written) => {
                    let written = written.map_err(gone)?;
                    upstream.take_input(written);
                    let now = Instant::now();
                    self.exchange.record.add(0, written as u64, now);
                    self.exchange.route.metrics.websocket_sent.inc_by(written as u64);
                    (self.last_activity, self.stalled) = (now, None);
                    has_moved = true;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                }
            }
        }
        if self.down == Way::Open
            && upstream.input().len() < MAX_WAITING
            && let Poll::Ready(read) = upstream.poll_fill(cx)
        {
            if is_end(read).map_err(|_| End::Upstream(UpstreamFault::Reset))? {
                self.down = Way::Ending;
            }
            has_moved = true;
        }
        let is_through = match downstream.poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| true).map_err(gone)?,
            Poll::Pending => false,
        };
        if self.down == Way::Ending
            && is_through
            && upstream.input().is_empty()
            && let Poll::Ready(shut) = downstream.poll_shutdown(cx)
        {
            shut.map_err(gone)?;
            self.down = Way::Ended;
            has_moved = true;
        }
        Ok(has_moved)
    }
}

/// Whether a read found the end of a connection. Over TLS many close it without saying so before; a WebSocket has words of its own
/// for its end.
fn is_end(read: io::Result<usize>) -> io::Result<bool> {
    match read {
        Ok(read) => Ok(read == 0),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}
