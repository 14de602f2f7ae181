//! The tunnel of a WebSocket after the 101 response: copies bytes unchanged in both directions.
//!
//! Backpressure: one side is read only as far as the other one accepts data. Half-close: the end of one side
//! is forwarded, and the other direction continues. An idle tunnel holds no buffers. Of the frames, only the
//! boundaries and the close opcode are parsed. They show how the WebSocket ended, and where a close frame can
//! be inserted.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};

use super::alarms::FAR;
use super::prefill::Switched;
use super::websocket_frames::{CLOSE_TO_CLIENT, CLOSE_TO_SERVER, FrameWatch};
use super::{Ended, Exchange, GaugeGuard, ResponseKind};
use crate::downstream::{Client, ClientLost, Http1Client as Downstream};
use crate::outcome::{Failure, Outcome, Phase};
use crate::upstream::Http1Exchange as Upstream;

/// Maximum number of unwritten bytes per direction, plus the size of one read.
const MAX_WAITING: usize = 32 * 1024;

/// Interval of checks for a broken connection on a side that is not being read.
const LOOK: Duration = Duration::from_secs(1);

/// Maximum silence of one side after the other one has ended. With one direction closed, a WebSocket has
/// nothing more to transfer (RFC 6455, 7.1.1).
const LAST_WORDS: Duration = Duration::from_secs(15);

/// Runs a tunnel to its end.
pub async fn run(client: &mut Client, exchange: &Exchange, switched: Box<Switched>) -> Ended {
    let status = Some(StatusCode::SWITCHING_PROTOCOLS);
    let nothing = ResponseKind::WebSocket { received: 0, closed_by: None };
    exchange.record.set_phase(Phase::Tunnel);
    if let Err(lost) = client.switch_protocols(&switched.head).await {
        let outcome = exchange.cancel(switched.connection, lost, Phase::Tunnel).await;
        client.abandon();
        return Ended { outcome, status: None, kind: nothing };
    }
    let active = GaugeGuard::new(&exchange.route.metrics.websockets_active);
    let (Some(downstream), Some((mut upstream, slot))) =
        (client.as_http1(), switched.connection.into_http1())
    else {
        // Upgrades exist only in HTTP/1.1, on both sides.
        return Ended { outcome: Failure::Invalid.into(), status, kind: nothing };
    };
    upstream.writer().be_patient(exchange.policy().write_timeout);
    let mut tunnel = Tunnel::new(downstream, upstream, exchange);
    let end = tunnel.run().await;
    let kind =
        ResponseKind::WebSocket { received: tunnel.received, closed_by: tunnel.closed_by.map(Side::as_str) };
    let upstream = tunnel.upstream;
    let is_reset = matches!(end, TunnelEnd::Lost(_) | TunnelEnd::Fault(Failure::Reset));
    let outcome = match end {
        TunnelEnd::Closed => Outcome::Completed,
        TunnelEnd::Lost(lost) => exchange.cancel(upstream, lost, Phase::Tunnel).await,
        TunnelEnd::Without(Side::Client) => exchange.cancel(upstream, ClientLost::Gone, Phase::Tunnel).await,
        TunnelEnd::Without(Side::Backend) => Failure::Closed.into(),
        TunnelEnd::Fault(failure) => failure.into(),
    };
    if let Some(Failure::Closed | Failure::Reset) = outcome.fault().map(|fault| fault.failure) {
        let (route, upstream) = (&exchange.route.config.name, &*exchange.record.upstream);
        let (request_id, how) = (&exchange.record.request_id, if is_reset { "reset" } else { "closed" });
        tracing::warn!(
            route,
            upstream,
            request_id,
            "the backend {how} a WebSocket connection without a close frame"
        );
    }
    // A reset by the backend is forwarded as a reset.
    if is_reset {
        client.abandon()
    } else {
        client.end_tunnel()
    }
    drop((active, slot));
    Ended { outcome, status, kind }
}

/// Why a tunnel ended.
enum TunnelEnd {
    /// After a close frame, when both sides have ended, or one has and the other one sent nothing more.
    Closed,
    /// Like [`Self::Closed`], but without a close frame. This side ended first.
    Without(Side),
    Lost(ClientLost),
    Fault(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Backend,
}

impl Side {
    /// The value in the access log.
    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
        }
    }
}

/// The state of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The source has ended. The rest is being written; then the end is forwarded.
    Ending,
    Ended,
}

/// One direction of the tunnel, named after its source.
struct Way {
    from: Side,
    flow: Flow,
    /// Tracks the frames written to the destination.
    frames: FrameWatch,
    /// Since when the destination has accepted no data although some is pending.
    stalled: Option<Instant>,
}

impl Way {
    fn from(from: Side) -> Self {
        Self { from, flow: Flow::Open, frames: FrameWatch::default(), stalled: None }
    }
}

struct Tunnel<'a> {
    downstream: &'a mut Downstream,
    upstream: Upstream,
    exchange: &'a Exchange,
    /// From the client to the backend.
    up: Way,
    /// From the backend to the client.
    down: Way,
    /// Number of bytes from the client.
    received: u64,
    /// The side that ended first.
    first_end: Option<Side>,
    /// The side that sent the first close frame.
    closed_by: Option<Side>,
    /// When either side last accepted data.
    last_activity: Instant,
}

impl<'a> Tunnel<'a> {
    fn new(downstream: &'a mut Downstream, upstream: Upstream, exchange: &'a Exchange) -> Self {
        Self {
            downstream,
            upstream,
            exchange,
            up: Way::from(Side::Client),
            down: Way::from(Side::Backend),
            received: 0,
            first_end: None,
            closed_by: None,
            last_activity: Instant::now(),
        }
    }

    async fn run(&mut self) -> TunnelEnd {
        let shutdown = &self.exchange.proxy.shutdown;
        let (mut timer, mut end) = (pin!(sleep_until(Instant::now())), pin!(shutdown.wait()));
        let mut limits = self.limits();
        poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx) {
                return Poll::Ready(end);
            }
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(self.go_away(cx, Failure::ShuttingDown));
            }
            // Reset only if the set of limits changes or the timer fires, not with each transfer.
            if std::mem::replace(&mut limits, self.limits()) != limits {
                timer.as_mut().reset(Instant::now());
            }
            while timer.as_mut().poll(cx).is_ready() {
                match self.next_due(Instant::now()) {
                    Ok(next) => timer.as_mut().reset(next),
                    Err(TunnelEnd::Fault(fault @ (Failure::IdleTimeout | Failure::MaxDuration))) => {
                        return Poll::Ready(self.go_away(cx, fault));
                    }
                    Err(end) => return Poll::Ready(self.judged(end)),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Which optional limits apply: one for a stalled side, and one after a half-close.
    fn limits(&self) -> (bool, bool) {
        let is_half = self.up.flow != Flow::Open || self.down.flow != Flow::Open;
        (self.up.stalled.or(self.down.stalled).is_some(), is_half)
    }

    /// The next time a limit can be reached, or the end of the tunnel if one has been reached.
    fn next_due(&mut self, now: Instant) -> Result<Instant, TunnelEnd> {
        let policy = self.exchange.policy();
        let after = |since: Option<Instant>, limit: Option<Duration>| Some(since? + limit?);
        let due = [
            (after(self.down.stalled, policy.write_timeout), TunnelEnd::Lost(ClientLost::Slow)),
            (after(self.up.stalled, policy.write_timeout), TunnelEnd::Fault(Failure::IdleTimeout)),
            (after(self.limits().1.then_some(self.last_activity), Some(LAST_WORDS)), self.ended()),
            (
                after(Some(self.last_activity), policy.websocket_idle_timeout),
                TunnelEnd::Fault(Failure::IdleTimeout),
            ),
            (
                after(Some(self.exchange.started), policy.session.max_duration),
                TunnelEnd::Fault(Failure::MaxDuration),
            ),
        ];
        let mut next = now + FAR;
        if self.limits() != (false, false) {
            // A side that is not being read must be checked for a broken connection.
            if self.downstream.link().is_broken() {
                return Err(TunnelEnd::Lost(ClientLost::Gone));
            }
            if self.upstream.writer().is_broken() {
                return Err(TunnelEnd::Fault(Failure::Reset));
            }
            next = now + LOOK;
        }
        for (at, end) in due {
            match at {
                Some(at) if at <= now => return Err(end),
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        Ok(next)
    }

    /// How a tunnel ends once a side has ended.
    fn ended(&self) -> TunnelEnd {
        match self.first_end {
            Some(side) if self.closed_by.is_none() => TunnelEnd::Without(side),
            _ => TunnelEnd::Closed,
        }
    }

    /// Sends close frames with status 1001 to both sides, if that is possible without blocking (RFC 6455,
    /// 7.1.2).
    fn go_away(&mut self, cx: &mut Context<'_>, fault: Failure) -> TunnelEnd {
        let takes =
            |way: &Way| way.frames.is_between_frames() && !way.frames.has_closed() && way.flow == Flow::Open;
        // A side that would block only sees its connection close.
        if takes(&self.down) && self.upstream.input().is_empty() {
            let _ = self.downstream.poll_write(cx, &[IoSlice::new(&CLOSE_TO_CLIENT)]);
            let _ = self.downstream.poll_flush(cx);
        }
        if takes(&self.up) && self.downstream.input().is_empty() {
            let _ = Pin::new(self.upstream.writer()).poll_write(cx, &CLOSE_TO_SERVER);
            let _ = self.upstream.writer().poll_drain(cx);
        }
        TunnelEnd::Fault(fault)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        loop {
            let moved = self.poll_up(cx).and_then(|up| Ok(self.poll_down(cx)? | up));
            match moved {
                Err(end) => return Poll::Ready(self.judged(end)),
                Ok(_) if self.up.flow == Flow::Ended && self.down.flow == Flow::Ended => {
                    return Poll::Ready(self.ended());
                }
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }

    /// A connection that breaks after its side has ended is no failure.
    fn judged(&self, end: TunnelEnd) -> TunnelEnd {
        match end {
            TunnelEnd::Lost(ClientLost::Gone) if self.up.flow != Flow::Open => self.ended(),
            TunnelEnd::Fault(Failure::Reset) if self.down.flow != Flow::Open => self.ended(),
            end => end,
        }
    }

    /// Copies data from the client to the backend. Returns whether anything was copied.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<bool, TunnelEnd> {
        let broken = |_| TunnelEnd::Fault(Failure::Reset);
        let mut has_moved = false;
        if !self.downstream.input().is_empty() {
            let written = Pin::new(self.upstream.writer()).poll_write(cx, self.downstream.input());
            if let Some(written) = self.up.note(written.map_err(broken)?) {
                self.up.frames.push(&self.downstream.take_input(written));
                self.received += written as u64;
                self.exchange.route.metrics.websocket_received.inc_by(written as u64);
                self.note_activity(0);
                has_moved = true;
            }
        }
        if self.up.flow == Flow::Open
            && self.downstream.input().len() < MAX_WAITING
            && let Poll::Ready(read) = self.downstream.poll_fill(cx)
        {
            if is_end(read).map_err(|_| TunnelEnd::Lost(ClientLost::Gone))? {
                self.begin_end(Side::Client);
            }
            has_moved = true;
        }
        let is_through = self.upstream.writer().poll_drain(cx).map_err(broken)?.is_ready();
        if self.up.flow == Flow::Ending
            && is_through
            && self.downstream.input().is_empty()
            && let Poll::Ready(shut) = Pin::new(self.upstream.writer()).poll_shutdown(cx)
        {
            shut.map_err(broken)?;
            self.up.flow = Flow::Ended;
            has_moved = true;
        }
        Ok(has_moved)
    }

    /// Copies data from the backend to the client. Returns whether anything was copied.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<bool, TunnelEnd> {
        let gone = |_| TunnelEnd::Lost(ClientLost::Gone);
        let mut has_moved = false;
        if !self.upstream.input().is_empty() {
            let written = self.downstream.poll_write(cx, &[IoSlice::new(self.upstream.input())]);
            if let Some(written) = self.down.note(written.map_err(gone)?) {
                self.down.frames.push(&self.upstream.input()[..written]);
                self.upstream.take_input(written);
                self.exchange.route.metrics.websocket_sent.inc_by(written as u64);
                self.note_activity(written as u64);
                has_moved = true;
            }
        }
        if self.down.flow == Flow::Open
            && self.upstream.input().len() < MAX_WAITING
            && let Poll::Ready(read) = self.upstream.poll_fill(cx)
        {
            if is_end(read).map_err(|_| TunnelEnd::Fault(Failure::Reset))? {
                self.begin_end(Side::Backend);
            }
            has_moved = true;
        }
        let is_through = self.downstream.poll_flush(cx).map_err(gone)?.is_ready();
        if self.down.flow == Flow::Ending
            && is_through
            && self.upstream.input().is_empty()
            && let Poll::Ready(shut) = self.downstream.poll_shutdown(cx)
        {
            shut.map_err(gone)?;
            self.down.flow = Flow::Ended;
            has_moved = true;
        }
        Ok(has_moved)
    }

    fn begin_end(&mut self, side: Side) {
        let way = if side == Side::Client { &mut self.up } else { &mut self.down };
        way.flow = Flow::Ending;
        self.first_end.get_or_insert(side);
    }

    /// Records that a side accepted data, `sent` bytes of it to the client.
    fn note_activity(&mut self, sent: u64) {
        self.last_activity = Instant::now();
        self.exchange.record.add(0, sent, self.last_activity);
        for way in [&self.up, &self.down] {
            if way.frames.has_closed() {
                self.closed_by.get_or_insert(way.from);
            }
        }
    }
}

impl Way {
    /// Tracks whether the destination is stalled. Returns the number of bytes written.
    fn note(&mut self, written: Poll<usize>) -> Option<usize> {
        match written {
            Poll::Ready(written) => {
                self.stalled = None;
                Some(written)
            }
            Poll::Pending => {
                self.stalled.get_or_insert_with(Instant::now);
                None
            }
        }
    }
}

/// Whether a read found the end of the connection. Many TLS peers close without close_notify, which is
/// acceptable here: WebSockets have their own close handshake.
fn is_end(read: io::Result<usize>) -> io::Result<bool> {
    match read {
        Ok(read) => Ok(read == 0),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(true),
        Err(error) => Err(error),
    }
}
