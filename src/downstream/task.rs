//! The task of a client: of a connection of HTTP/1.1, or of a stream of HTTP/2.
//!
//! Most of what wakes it is an event that is relayed. So a relay is polled by the task itself, with no other future around it; what
//! comes before it and after it has a future of its own, which is gone while it runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::admission::Admitted;
use super::connection::Http1Connection;
use super::{App, Client};

/// A task, to be spawned.
pub struct ClientTask<A: App>(TaskState<A>);

enum TaskState<A: App> {
    /// Whatever is no relay; `None` ends the task.
    Apart(Pin<Box<dyn Future<Output = Option<RelayHandover<A>>> + Send>>),
    Relaying(RelayHandover<A>),
    Over,
}

/// A relay, and what is left behind for the time after it.
pub struct RelayHandover<A: App> {
    pub relay: A::Relay,
    pub rest: Rest<A>,
}

/// What goes on after a relay.
pub enum Rest<A> {
    Connection(Http1Connection<A>),
    /// Nothing, on a stream of HTTP/2; it counts for its connection.
    Stream(Arc<Admitted>),
}

impl<A: App> ClientTask<A> {
    pub fn new(beginning: impl Future<Output = Option<RelayHandover<A>>> + Send + 'static) -> Self {
        Self(TaskState::Apart(Box::pin(beginning)))
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
                        self.0 = TaskState::Apart(Box::pin(rest.go_on(client)));
                    }
                }
                TaskState::Apart(apart) => match ready!(apart.as_mut().poll(cx)) {
                    Some(handover) => self.0 = TaskState::Relaying(handover),
                    None => self.0 = TaskState::Over,
                },
                TaskState::Over => return Poll::Ready(()),
            }
        }
    }
}
