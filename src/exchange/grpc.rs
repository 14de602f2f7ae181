//! Special handling of gRPC calls. Responses pass unchanged. Failures are reported in trailers, which
//! correspond to the error event of an event stream.

use std::future::poll_fn;
use std::task::Poll;

use tokio::time::Instant;

use super::body::Body;
use super::prefill::UpstreamAnswer;
use super::relay::Relay;
use super::{Ended, Exchange, ResponseKind, response_head};
use crate::downstream::{Client, ClientLost};
use crate::headers::grpc;
use crate::http1::{Fields, ResponseHead};
use crate::outcome::{Fault, Outcome, Phase};
use crate::upstream::BodyProgress;

/// Writes the response at once if its body is empty, and returns how the exchange ended. Such a response must
/// be a single head, because its fields contain the status of the call.
pub async fn answer_at_once(
    client: &mut Client,
    exchange: &Exchange,
    answer: &mut UpstreamAnswer,
) -> Option<Ended> {
    let UpstreamAnswer { body, head, begun, .. } = answer;
    let read = poll_fn(|cx| Poll::Ready(body.poll_read(cx, &mut |bytes| begun.extend_from_slice(bytes))));
    let is_over = matches!(read.await, Poll::Ready(Ok(BodyProgress::End))) && begun.is_empty();
    if !is_over {
        return None;
    }
    exchange.record.set_phase(Phase::Body);
    let head = response_head(client, exchange, head.clone(), None);
    let status = Some(head.status);
    let (outcome, status) = match write_answer(client, exchange, body, head).await {
        Ok(()) => (Outcome::Completed, status),
        Err(lost) => {
            let outcome = exchange.cancel((), lost, Phase::Body).await;
            client.abandon();
            (outcome, None)
        }
    };
    Some(Ended { outcome, status, kind: ResponseKind::Other })
}

/// Writes a response without messages.
async fn write_answer(
    client: &mut Client,
    exchange: &Exchange,
    body: &mut Body,
    head: ResponseHead,
) -> Result<(), ClientLost> {
    match body.connection.take_trailers() {
        None => {
            exchange.note_grpc_status(&head.fields);
            client.answer(head).await?;
        }
        Some(trailers) => {
            exchange.note_grpc_status(&trailers);
            client.begin(head)?;
            client.write_trailers(&[], &trailers).await?;
        }
    }
    client.dismiss_request();
    Ok(())
}

impl Exchange {
    /// Records the status of a call, if these fields contain it.
    pub fn note_grpc_status(&self, fields: &Fields) {
        if self.is_grpc
            && let Some(status) = grpc::status(fields)
        {
            self.record.set_grpc_status(status);
        }
    }
}

impl Relay {
    /// Ends an interrupted call with trailers that report the failure. Clients do not take the response for
    /// complete, even if a message was cut off.
    pub(super) async fn fail_call(&mut self, fault: Fault) {
        let now = Instant::now();
        let last = self.session.poll_write(now.into_std()).unwrap_or_default();
        let (mut trailers, status) = (Fields::default(), fault.grpc_status());
        let message = Some(fault.message()).filter(|message| !message.is_empty());
        grpc::append_status(
            &mut trailers,
            status,
            &message.unwrap_or(fault.failure.facts().unanswered.into()),
        );
        if self.client.write_trailers(last, &trailers).await.is_err() {
            self.client.abandon();
            return;
        }
        self.note_written(now);
        self.exchange.record.set_grpc_status(status.code());
        self.client.dismiss_request();
    }
}
