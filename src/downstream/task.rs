//! The task of a client: one per HTTP/1.1 connection or HTTP/2 stream.
//!
//! Most wake-ups of a task are for events to relay. So the task polls a relay directly, without a future
//! around it. The code before and after a relay runs in a separate future, which does not exist while the
//! relay runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::admission::Admitted;
use super::connection::Http1Connection;
use super::{App, Client};

/// A task to be spawned.
pub struct ClientTask<A: App>(TaskState<A>);

enum TaskState<A: App> {
    /// Everything except a relay. `None` ends the task.
    Other(Pin<Box<dyn Future<Output = Option<RelayHandover<A>>> + Send>>),
    Relaying(RelayHandover<A>),
    Over,
}

/// A relay, and what the task continues with after it.
pub struct RelayHandover<A: App> {
    pub relay: A::Relay,
    pub rest: Rest<A>,
}

/// What follows a relay.
pub enum Rest<A> {
    Connection(Http1Connection<A>),
    /// On an HTTP/2 stream, only draining the request. The stream still counts as part of its connection.
    Stream(Arc<Admitted>),
}

impl<A: App> ClientTask<A> {
    pub fn new(beginning: impl Future<Output = Option<RelayHandover<A>>> + Send + 'static) -> Self {
        Self(TaskState::Other(Box::pin(beginning)))
    }
}

impl<A: App> Rest<A> {
    async fn go_on(self, mut client: Box<Client>) -> Option<RelayHandover<A>> {
        match self {
            Self::Connection(connection) => connection.go_on(client).await,
            Self::Stream(_admitted) => {
                client.drain().await;
                None
            }
        }
    }
}

impl<A: App> Future for ClientTask<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.0 {
                TaskState::Relaying(RelayHandover { relay, .. }) => {
                    let client = ready!(Pin::new(relay).poll(cx));
                    if let TaskState::Relaying(RelayHandover { rest, .. }) =
                        std::mem::replace(&mut self.0, TaskState::Over)
                    {
                        self.0 = TaskState::Other(Box::pin(rest.go_on(client)));
                    }
                }
                TaskState::Other(other) => match ready!(other.as_mut().poll(cx)) {
                    Some(handover) => self.0 = TaskState::Relaying(handover),
                    None => self.0 = TaskState::Over,
                },
                TaskState::Over => return Poll::Ready(()),
            }
        }
    }
}
