//! Finding a server for a request, with queueing if all servers are busy.

use tokio::time::Instant;

use super::Exchange;
use super::attempt::until;
use super::upload::{ClientEvent, Upload};
use crate::downstream::{Client, ClientLost};
use crate::http1::RequestHead;
use crate::outcome::{Failure, Fault, Outcome, Phase};
use crate::upstream::{Needs, Placement, QueuePlace, Refusal, Slot};

/// The requirements of a request on its server.
pub fn needs(client: &Client, exchange: &Exchange) -> Needs {
    let upstream = &exchange.route.config.upstream;
    let fields = &client.request().fields;
    let lane = upstream.queue.fairness.as_ref().and_then(|name| fields.value(name)).map(Into::into);
    Needs { key: None, lane, tried: Vec::new(), needs_http2: exchange.is_grpc }
}

/// Gets a slot, after waiting in the queue if necessary.
pub async fn place(client: &mut Client, exchange: &mut Exchange, needs: &Needs) -> Result<Slot, Outcome> {
    let upstream = exchange.route.upstream.clone();
    // Nothing was awaited since the head was read, so its time is accurate enough.
    match upstream.admit(needs, true, exchange.started.into_std()) {
        Placement::Slot(slot) => Ok(slot),
        Placement::Queued(place) => Box::pin(wait(client, exchange, place)).await,
        // The addresses of the servers are not known yet.
        Placement::Refused(Refusal::Exhausted) => Box::pin(locate(client, exchange, needs)).await,
        Placement::Refused(refusal) => Err(exchange.refused(refusal)),
    }
}

/// Waits until an address of a server is known, while watching the client.
async fn locate(client: &mut Client, exchange: &mut Exchange, needs: &Needs) -> Result<Slot, Outcome> {
    let (upstream, proxy) = (exchange.route.upstream.clone(), exchange.proxy.clone());
    let lost = tokio::select! {
        located = upstream.located() => {
            located.map_err(|error| Outcome::Failed(error.fault()))?;
            return match upstream.admit(needs, true, Instant::now().into_std()) {
                Placement::Slot(slot) => Ok(slot),
                Placement::Queued(place) => Box::pin(wait(client, exchange, place)).await,
                Placement::Refused(refusal) => Err(exchange.refused(refusal)),
            };
        }
        lost = left(client) => lost,
        () = proxy.shutdown.has_begun() => return Err(Failure::ShuttingDown.into()),
    };
    Err(exchange.cancel((), lost, Phase::Connecting).await)
}

/// Waits in the queue. The request body stays unread, so that waiting costs little memory. If early
/// heartbeats are possible, the start of the body is read, because it shows whether they are allowed.
pub async fn wait(
    client: &mut Client,
    exchange: &mut Exchange,
    mut place: QueuePlace,
) -> Result<Slot, Outcome> {
    let (upstream, proxy) = (exchange.route.upstream.clone(), exchange.proxy.clone());
    let queue = &exchange.route.config.upstream.queue;
    let (end, reads) = (Instant::now() + queue.timeout, exchange.waiting.next_heartbeat().is_some());
    exchange.record.set_phase(Phase::Queued);
    let (how, ended) = loop {
        let lost = tokio::select! {
            biased;
            event = watch(client, &mut exchange.upload, reads) => match event {
                ClientEvent::Uploaded => continue,
                ClientEvent::Gone => ClientLost::Gone,
                ClientEvent::BadBody(bad) => break ("client_gone", Err(bad.into())),
            },
            slot = &mut place => break ("served", Ok(slot)),
            () = proxy.shutdown.has_begun() => break ("drain", Err(Failure::ShuttingDown.into())),
            () = tokio::time::sleep_until(end) => break ("timeout", Err(exchange.timed_out(&place))),
            () = until(exchange.waiting.next_heartbeat()) => {
                let number = place.ahead() + 1;
                match Box::pin(exchange.send_early_heartbeat(client, Some(number))).await {
                    Ok(()) => continue,
                    Err(lost) => lost,
                }
            }
        };
        let waited = place.waited();
        let outcome = exchange.cancel(place, lost, Phase::Queued).await;
        upstream.metrics().observe_queued("client_gone", waited.as_secs_f64());
        exchange.record.note_queued(waited);
        return Err(outcome);
    };
    upstream.metrics().observe_queued(how, place.waited().as_secs_f64());
    exchange.record.note_queued(place.waited());
    match &ended {
        Ok(_) => exchange.record.set_phase(Phase::Connecting),
        Err(Outcome::Failed(fault)) if fault.failure == Failure::NoServer => {
            upstream.metrics().count_rejected("no_server");
        }
        Err(_) => upstream.metrics().count_rejected(how),
    }
    ended
}

async fn watch(client: &mut Client, upload: &mut Upload, reads: bool) -> ClientEvent {
    match reads {
        true => upload.watch(client).await,
        false => {
            left(client).await;
            ClientEvent::Gone
        }
    }
}

/// Ready when the client leaves. Reads nothing of its request body, so nothing else can happen.
async fn left(client: &mut Client) -> ClientLost {
    client.receive(false).await;
    ClientLost::Gone
}

impl Exchange {
    /// Assigns the request to the server of this slot.
    pub fn begin_attempt(&mut self, slot: &Slot, request: &mut RequestHead) {
        self.record.note_server(slot.server().label());
        (self.seat, self.is_judged) = (Some(slot.seat()), false);
        if self.names_server {
            request.fields.set("Host", slot.server().authority());
        }
    }

    fn refused(&self, refusal: Refusal) -> Outcome {
        let metrics = self.route.upstream.metrics();
        Outcome::Failed(match refusal {
            Refusal::Full(after) => {
                metrics.count_rejected("full");
                Fault::passing(Failure::QueueFull, after)
            }
            Refusal::NoServer(after) => {
                metrics.count_rejected("no_server");
                Fault::passing(Failure::NoServer, after)
            }
            Refusal::Exhausted => Failure::LookupFailed.into(),
            Refusal::NoHttp2 => Failure::GrpcOverHttp1.into(),
        })
    }

    fn timed_out(&self, place: &QueuePlace) -> Outcome {
        let is_any = !self.route.upstream.usable().is_empty();
        let failure = if is_any { Failure::QueueTimeout } else { Failure::NoServer };
        Outcome::Failed(Fault::passing(failure, place.retry_after()))
    }
}
