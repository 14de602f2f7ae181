//! The end of the process, as its streams hear of it.

use tokio::sync::watch;

/// Tells when every stream that is still open must end.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// `ending`: becomes true when it is time.
    pub fn new(ending: watch::Receiver<bool>) -> Self {
        Self(ending)
    }

    /// Whether [`Self::wait`] may be ready. Costs less than asking it.
    pub fn may_have_come(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Ready when it is time.
    pub async fn wait(&self) {
        let mut ending = self.0.clone();
        if ending.wait_for(|is_ending| *is_ending).await.is_err() {
            // Whoever would say so is gone: then nobody waits for anything any more.
            std::future::pending().await
        }
    }
}
