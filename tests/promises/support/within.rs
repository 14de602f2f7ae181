use std::future::Future;
use std::time::Duration;

/// How long a condition may take that normally takes milliseconds.
pub const GENEROUS: Duration = Duration::from_secs(20);

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
