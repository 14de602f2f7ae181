use std::future::Future;
use std::time::Duration;

/// How long a condition may take that normally takes milliseconds.
pub const GENEROUS: Duration = Duration::from_secs(20);

/// How long nothing must have moved for it to stand still.
const STILL: Duration = Duration::from_millis(300);

/// Waits for a condition, and fails loudly if it does not come.
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

/// Looks again and again until there is something to see, where nobody tells of it.
pub async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until what has begun to grow grows no more, and returns how much it is. That nothing happens only time can tell.
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
