//! Connecting to a server with several addresses. The next address is tried when one failed or has not
//! answered within a short delay, and the first connection is used (RFC 8305, 5).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time before the next address is tried (RFC 8305, 8: "Connection Attempt Delay").
const DELAY: Duration = Duration::from_millis(250);

type Attempt<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Attempts to connect. Their state remains available if [`Self::run`] is cancelled.
pub struct Race<'a, T, E> {
    waiting: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, Attempt<'a, T, E>)>,
    failed: Vec<(SocketAddr, E)>,
}

impl<'a, T, E> Race<'a, T, E> {
    /// Tries the addresses in this order, except that address families alternate (RFC 8305, 4).
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let waiting = alternate_families(addresses).into();
        Self { waiting, running: Vec::new(), failed: Vec::new() }
    }

    /// Returns the first connection and its address, or `None` if every attempt failed.
    pub async fn run<F>(&mut self, connect: impl Fn(SocketAddr) -> F) -> Option<(SocketAddr, T)>
    where
        F: Future<Output = Result<T, E>> + Send + 'a,
    {
        loop {
            if let Some(address) = self.waiting.pop_front() {
                self.running.push((address, Box::pin(connect(address))));
            }
            let next = (!self.waiting.is_empty()).then(|| Instant::now() + DELAY);
            tokio::select! {
                biased;
                ended = self.next_end() => match ended {
                    Some((address, Ok(connection))) => return Some((address, connection)),
                    Some((address, Err(error))) => self.failed.push((address, error)),
                    // One has just begun if any was waiting.
                    None => return None,
                },
                () = until(next) => {}
            }
        }
    }

    /// The next attempt to complete, or `None` if none is running.
    async fn next_end(&mut self) -> Option<(SocketAddr, Result<T, E>)> {
        let running = &mut self.running;
        let ended = poll_fn(|cx| {
            let ended = running.iter_mut().enumerate().find_map(|(at, (_, attempt))| {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(result) => Some((at, result)),
                    Poll::Pending => None,
                }
            });
            match ended {
                Some(ended) => Poll::Ready(Some(ended)),
                None if running.is_empty() => Poll::Ready(None),
                None => Poll::Pending,
            }
        });
        let (at, result) = ended.await?;
        let (address, _) = self.running.swap_remove(at);
        Some((address, result))
    }

    /// The addresses that were tried: those that failed, and those that have not answered.
    pub fn into_tried(self) -> (Vec<(SocketAddr, E)>, Vec<SocketAddr>) {
        (self.failed, self.running.into_iter().map(|(address, _)| address).collect())
    }
}

fn alternate_families(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first =
        |address: &&SocketAddr| addresses.first().is_some_and(|first| first.is_ipv6() == address.is_ipv6());
    let mut first = addresses.iter().filter(is_first);
    let mut second = addresses.iter().filter(|address| !is_first(address));
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn families_alternate_and_the_resolver_decides_which_is_first() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let wanted = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(alternate_families(&given), wanted);
        let given = addresses(&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"]);
        assert_eq!(alternate_families(&given), addresses(&["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unresponsive_address_delays_the_next_one_by_250_ms() {
        let (start, begun) = (Instant::now(), Mutex::new(Vec::new()));
        let given = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1"]);
        let mut race = Race::new(&given);
        let won = race
            .run(|address| {
                begun.lock().expect("a lock").push(start.elapsed().as_millis());
                async move {
                    match address.is_ipv4() {
                        true => sleep_until(start + Duration::from_millis(400)).await,
                        false => std::future::pending().await,
                    }
                    Ok::<_, ()>(())
                }
            })
            .await;
        assert_eq!(won.map(|(address, ())| address), Some(given[1]));
        assert_eq!(*begun.lock().expect("a lock"), [0, 250]);
        assert_eq!(start.elapsed(), Duration::from_millis(400));
        assert_eq!(race.into_tried(), (Vec::new(), vec![given[0]]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_attempt_starts_the_next_one_immediately() {
        let start = Instant::now();
        let given = addresses(&["1.0.0.1:1", "1.0.0.2:1"]);
        let mut race = Race::new(&given);
        assert!(race.run(|address| async move { Err::<(), _>(address.port()) }).await.is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(race.into_tried(), (vec![(given[0], 1), (given[1], 1)], Vec::new()));
    }
}
