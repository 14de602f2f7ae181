//! The end of the process, as its streams hear of it.

use tokio::sync::watch;

/// Tells when the process is on its way to its end, and when every stream that is still open must end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stopping: watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
}

impl Shutdown {
    /// `stopping` becomes true when the process takes no more requests, `ending` when it waits for none any more.
    pub fn new(stopping: watch::Receiver<bool>, ending: watch::Receiver<bool>) -> Self {
        Self { stopping, ending }
    }

    /// Ready when the process takes no more requests.
    pub async fn has_begun(&self) {
        is_true(&self.stopping).await;
    }

    /// Whether [`Self::wait`] may be ready. Costs less than asking it.
    pub fn may_have_come(&self) -> bool {
        self.ending.has_changed().unwrap_or(true)
    }

    /// Ready when it is time to end.
    pub async fn wait(&self) {
        is_true(&self.ending).await;
    }
}

async fn is_true(flag: &watch::Receiver<bool>) {
    if flag.clone().wait_for(|is_true| *is_true).await.is_err() {
        // Whoever would say so is gone: then nobody waits for anything any more.
        std::future::pending().await
    }
}
