//! One stream of a probe origin, as it was ordered.

use std::time::Duration;

use http::Version;
use tokio::time::{Instant, sleep, sleep_until};

use super::runs::ProbeRun;
use crate::doctor::order::{StreamEnd, StreamOrder, TEAR};
use crate::doctor::sample;
use crate::downstream::own_app::{self, Field};
use crate::downstream::{Client, ClientLost};

/// How long a client has to read what was sent before its connection is reset, which overtakes what is on its way.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// Sends it; whoever leaves meanwhile is noticed at once. `fields`: of the response, beside those of the order.
pub async fn send(
    client: &mut Client,
    order: &StreamOrder,
    run: &ProbeRun,
    fields: &[Field<'_>],
) -> Result<(), ClientLost> {
    pause(client, order.head_after).await?;
    run.head_begins();
    begin(client, order, fields).await?;
    pause(client, order.first_after).await?;
    for n in 0..sample::count(order) {
        let begun = Instant::now();
        let writes = sample::writes(order, n, run.event_begins());
        for (index, write) in writes.iter().enumerate() {
            if index > 0 {
                pause(client, TEAR).await?;
            }
            client.write(write).await?;
        }
        if n + 1 < sample::count(order) {
            own_app::while_connected(client, sleep_until(begun + order.every)).await?;
        }
    }
    pause(client, order.last_for).await?;
    end(client, order).await
}

async fn begin(client: &mut Client, order: &StreamOrder, fields: &[Field<'_>]) -> Result<(), ClientLost> {
    let cache_control = if order.forbids_transforming { "no-cache, no-transform" } else { "no-cache" };
    let mut fields = [&[("Cache-Control", cache_control)], fields].concat();
    if order.forbids_buffering {
        fields.push(("X-Accel-Buffering", "no"));
    }
    own_app::begin(client, order.media_type.content_type(), &fields).await
}

async fn end(client: &mut Client, order: &StreamOrder) -> Result<(), ClientLost> {
    match order.end {
        StreamEnd::Clean => client.finish().await,
        // Over HTTP/2 both are a stream that is reset.
        StreamEnd::Reset if !client.is_http2() => {
            pause(client, LAST_BYTES).await?;
            client.abandon();
            Ok(())
        }
        StreamEnd::Reset => break_off(client).await,
        StreamEnd::Truncated => {
            let event = sample::event(order, order.events, 0.0);
            client.write(&event[..event.len() / 2]).await?;
            match client.version() {
                // The end of the connection is the end of the body: this is how a body that is cut looks there.
                Version::HTTP_10 => client.finish().await,
                _ => break_off(client).await,
            }
        }
    }
}

async fn break_off(client: &mut Client) -> Result<(), ClientLost> {
    client.sever().await;
    Ok(())
}

async fn pause(client: &mut Client, pause: Duration) -> Result<(), ClientLost> {
    if pause.is_zero() {
        return Ok(());
    }
    own_app::while_connected(client, sleep(pause)).await
}
