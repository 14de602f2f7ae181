//! The demo's backend: enough of OpenAI's API for chat clients, at the pace of a model. It logs what happens
//! to each request.

use std::future::{Ready, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::model::{self, ChatRequest, Manner};
use super::story;
use crate::downstream::own_app;
use crate::downstream::{App, Client, ClientLost, Received, Served, send_reply};
use crate::http1::BadHead;
use crate::session::MEDIA_TYPE;

/// From the request to the first token.
const PREFILL: Duration = Duration::from_millis(600);
/// The pause between the fragments of a torn event.
const TEAR: Duration = Duration::from_millis(15);
/// The number of events after which a model dies, stalls or stops short.
const FAULT_AFTER: usize = 12;
/// The maximum size of a request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

pub struct Backend {
    /// The interval between tokens.
    pace: Duration,
    /// The number of requests so far, of all servers.
    requests: Arc<AtomicU64>,
}

/// Why an answer is not complete.
enum Broken {
    /// The client closed the connection.
    Gone,
    /// The model broke off as requested.
    Died,
}

impl From<ClientLost> for Broken {
    fn from(_: ClientLost) -> Self {
        Self::Gone
    }
}

impl Backend {
    /// `speed`: tokens per second. `requests`: the request counter.
    pub fn new(speed: u32, requests: Arc<AtomicU64>) -> Self {
        Self { pace: Duration::from_secs(1) / speed.max(1), requests }
    }

    async fn answer(&self, client: &mut Client) -> Result<(), Broken> {
        let body = read_body(client).await?;
        let request = client.request();
        match (&request.method, request.path().as_ref()) {
            (&Method::POST, "/v1/chat/completions") => match ChatRequest::parse(&body) {
                // Requests of the background clients are not logged, so that the log shows only what the user
                // tries.
                Some(chat) if request.fields.contains(story::FIELD) => {
                    ModelAnswer { client, number: None, events: 0, pace: self.pace }.give(&chat).await
                }
                Some(chat) => self.chat(client, chat).await,
                None => {
                    respond(client, StatusCode::BAD_REQUEST, &error("the body is not a JSON object")).await
                }
            },
            (&Method::GET, "/v1/models") => respond(client, StatusCode::OK, &model::list()).await,
            _ => {
                respond(client, StatusCode::NOT_FOUND, &error("not found: use POST /v1/chat/completions"))
                    .await
            }
        }
    }

    async fn chat(&self, client: &mut Client, request: ChatRequest) -> Result<(), Broken> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let manner = request.manner;
        let speed = 1.0 / self.pace.as_secs_f64();
        tracing::info!(target: "model", "request {number}: generating as {:?}, {speed:.0} tokens/s", manner.model());
        let mut answer = ModelAnswer { client, number: Some(number), events: 0, pace: self.pace };
        let ended = answer.give(&request).await;
        let events = answer.events;
        match &ended {
            Ok(()) => tracing::info!(target: "model", "request {number}: done"),
            Err(Broken::Died) => {
                tracing::warn!(target: "model", "request {number}: died in the middle of an event")
            }
            Err(Broken::Gone) => {
                tracing::info!(target: "model", "request {number}: CANCELLED after {events} events: the connection was closed");
                if manner == Manner::IgnoresCancel {
                    let wasted = model::events(manner).count() - events;
                    tracing::warn!(target: "model", "request {number}: ignores the cancellation and generates {wasted} more events for nobody");
                    sleep(self.pace * u32::try_from(wasted).unwrap_or(u32::MAX)).await;
                    tracing::warn!(target: "model", "request {number}: done, for nobody");
                }
            }
        }
        ended
    }
}

/// An answer in progress.
struct ModelAnswer<'a> {
    client: &'a mut Client,
    /// The number of the request in the log. `None` if it is not logged.
    number: Option<u64>,
    /// The number of events sent so far.
    events: usize,
    /// The interval between tokens.
    pace: Duration,
}

impl ModelAnswer<'_> {
    async fn give(&mut self, request: &ChatRequest) -> Result<(), Broken> {
        if request.stream {
            self.stream(request.manner).await?;
            return Ok(self.client.finish().await?);
        }
        self.whole(request.manner).await
    }

    async fn whole(&mut self, manner: Manner) -> Result<(), Broken> {
        self.pause(PREFILL).await?;
        respond(self.client, StatusCode::OK, &model::completion(manner)).await
    }

    async fn stream(&mut self, manner: Manner) -> Result<(), Broken> {
        self.head().await?;
        self.pause(PREFILL).await?;
        let events: Vec<String> = model::events(manner).collect();
        if manner == Manner::Buffers {
            self.pause(self.pace * u32::try_from(events.len()).unwrap_or(u32::MAX)).await?;
            self.write(events.concat()).await?;
            self.events = events.len();
            return Ok(());
        }
        for event in events {
            self.pause(self.pace).await?;
            match manner {
                Manner::Dies if self.events == FAULT_AFTER => return self.die(&event).await,
                Manner::StopsShort if self.events == FAULT_AFTER => return Ok(()),
                Manner::Stalls if self.events == FAULT_AFTER => return self.stall().await,
                Manner::Tears => self.write_torn(&event).await?,
                _ => self.write(event).await?,
            }
            self.events += 1;
        }
        Ok(())
    }

    /// Sends half an event and closes the connection, without the last chunk.
    async fn die(&mut self, event: &str) -> Result<(), Broken> {
        self.write(&event[..event.len() / 2]).await?;
        self.client.sever().await;
        Err(Broken::Died)
    }

    async fn stall(&mut self) -> Result<(), Broken> {
        if let Some(number) = self.number {
            tracing::warn!(target: "model", "request {number}: stalling");
        }
        Ok(own_app::while_connected(self.client, pending()).await?)
    }

    async fn head(&mut self) -> Result<(), Broken> {
        Ok(own_app::begin(self.client, MEDIA_TYPE, &[own_app::NO_STORE]).await?)
    }

    async fn write_torn(&mut self, event: &str) -> Result<(), Broken> {
        for fragment in event.as_bytes().chunks(event.len().div_ceil(3)) {
            self.write(fragment).await?;
            self.pause(TEAR).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        Ok(self.client.write(bytes.as_ref()).await?)
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), Broken> {
        Ok(own_app::while_connected(self.client, sleep(pause)).await?)
    }
}

impl App for Backend {
    type Relay = Ready<Box<Client>>;

    async fn serve(&self, mut client: Box<Client>, stopped: &watch::Receiver<bool>) -> Served<Self::Relay> {
        let mut stopped = stopped.clone();
        // No keep-alive: a connection to a killed server must not be reused.
        client.set_last();
        let answered = tokio::select! {
            answered = self.answer(&mut client) => answered,
            // The server is killed, and breaks off in any state.
            _ = stopped.wait_for(|stopped| *stopped) => Err(Broken::Gone),
        };
        if let Err(Broken::Gone) = answered {
            client.abandon();
        }
        Served::Answered(client)
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        // The demo keeps no statistics.
        let _ = send_reply(client, why.into()).await;
    }
}

async fn read_body(client: &mut Client) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while !client.is_body_read() {
        match client.receive(true).await {
            Received::Piece { piece, .. } if body.len() + piece.len() <= MAX_BODY => {
                body.extend_from_slice(&piece)
            }
            _ => return Err(Broken::Gone),
        }
    }
    Ok(body)
}

async fn respond(client: &mut Client, status: StatusCode, body: &Value) -> Result<(), Broken> {
    Ok(own_app::respond(client, status, "application/json", &[], format!("{body}\n").as_bytes()).await?)
}

fn error(message: &str) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}
