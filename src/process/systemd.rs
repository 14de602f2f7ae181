//! Notifications to systemd (sd_notify(3)). Without NOTIFY_SOCKET, they are no-ops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use super::server::Counts;

/// How often the status line is updated.
const STATUS: Duration = Duration::from_secs(2);

/// Notifies systemd of the state of the process.
#[derive(Clone)]
pub struct Notifier {
    messages: Sender<Notification>,
    /// The successor sends the notifications now.
    is_silent: Arc<AtomicBool>,
}

enum Notification {
    Ready,
    Reloading,
    Stopping,
    MainPid(u32),
    Status(String),
    Watchdog,
}

impl Notifier {
    /// Starts to update the status line and to feed the watchdog. Both run on the async runtime, so a hung
    /// runtime is detected.
    pub fn start(counts: Counts) -> Self {
        let (messages, queue) = mpsc::channel();
        let notifier = Self { messages, is_silent: Arc::default() };
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            // A separate thread, because a notification blocks if systemd does not read.
            std::thread::spawn(move || tell(&queue));
            tokio::spawn(notifier.clone().keep_status(counts));
            if let Some(limit) = watchdog() {
                tokio::spawn(notifier.clone().feed_watchdog(limit));
            }
        }
        notifier
    }

    pub fn ready(&self) {
        self.say(Notification::Ready);
    }

    pub fn reloading(&self) {
        self.say(Notification::Reloading);
    }

    pub fn stopping(&self) {
        self.say(Notification::Stopping);
    }

    /// Makes the successor the main process of the service.
    pub fn hand_over(&self, successor: u32) {
        self.say(Notification::MainPid(successor));
        self.is_silent.store(true, Ordering::Relaxed);
    }

    async fn keep_status(self, counts: Counts) {
        let mut ticks = interval(STATUS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        loop {
            ticks.tick().await;
            let status = counts.to_string();
            if status != last {
                self.say(Notification::Status(status.clone()));
                last = status;
            }
        }
    }

    async fn feed_watchdog(self, limit: Duration) {
        // At half the interval that sd_watchdog_enabled(3) requires.
        let mut ticks = interval(limit / 2);
        loop {
            ticks.tick().await;
            self.say(Notification::Watchdog);
        }
    }

    fn say(&self, message: Notification) {
        if !self.is_silent.load(Ordering::Relaxed) {
            // The receiver is gone without systemd.
            let _ = self.messages.send(message);
        }
    }
}

fn tell(queue: &Receiver<Notification>) {
    for message in queue {
        let told = match &message {
            Notification::Ready => sd_notify::notify(false, &[NotifyState::Ready]),
            Notification::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(false, &[NotifyState::Reloading, now])),
            Notification::Stopping => sd_notify::notify(false, &[NotifyState::Stopping]),
            Notification::MainPid(pid) => sd_notify::notify(false, &[NotifyState::MainPid(*pid)]),
            Notification::Status(status) => sd_notify::notify(false, &[NotifyState::Status(status)]),
            Notification::Watchdog => sd_notify::notify(false, &[NotifyState::Watchdog]),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "cannot notify systemd");
        }
    }
}

/// The watchdog interval. Without WATCHDOG_PID, it applies to every process (sd_watchdog_enabled(3)),
/// including a successor.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| is_for_us && *limit > 1).map(Duration::from_micros)
}
