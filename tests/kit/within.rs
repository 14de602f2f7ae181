//! Waiting for conditions, with limits.

use std::future::Future;
use std::time::Duration;

/// Limit for a condition that normally takes milliseconds.
pub const GENEROUS: Duration = Duration::from_secs(20);

/// Time without change after which a count counts as still.
const STILL: Duration = Duration::from_millis(300);

/// Waits for a condition, and panics if it does not hold in time.
pub trait Within: Future + Sized {
    async fn within(self, limit: Duration) -> Self::Output {
        match tokio::time::timeout(limit, self).await {
            Ok(output) => output,
            Err(_) => panic!("this did not happen within {limit:?}"),
        }
    }

    async fn soon(self) -> Self::Output {
        self.within(GENEROUS).await
    }
}

impl<F: Future> Within for F {}

/// Polls a condition that cannot be awaited, until it returns a value.
pub async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a count that has begun to grow stops growing, and returns it. Only time can show that nothing
/// happens.
pub async fn stands_still(count: impl Fn() -> u64) -> u64 {
    let mut before = 0;
    loop {
        tokio::time::sleep(STILL).await;
        let now = count();
        if now > 0 && now == before {
            return now;
        }
        before = now;
    }
}
