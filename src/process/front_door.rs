//! Dispatches the requests of a listener to the proxy or to a probe origin.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::reload::CurrentListener;
use crate::config::{DoctorPoint, DoctorToken, ListenAddress, Listener};
use crate::doctor::origin::ProbeOrigin;
use crate::downstream::{App, Client, Served};
use crate::exchange::{Proxy, Relaying};
use crate::http1::BadHead;

/// Serves the requests of one listener.
pub struct FrontDoor {
    proxy: Proxy,
    /// Replaced by a reload.
    listener: CurrentListener,
    probe: SharedOrigin,
}

/// The probe origin, shared by all listeners so that a run started on one can be queried on another.
#[derive(Clone)]
pub struct SharedOrigin {
    origin: ProbeOrigin,
    /// The token for listeners without a configured `doctor_token`.
    token: Arc<DoctorToken>,
}

impl SharedOrigin {
    pub fn new() -> io::Result<Self> {
        Ok(Self { origin: ProbeOrigin::default(), token: Arc::new(DoctorToken::random()?) })
    }

    /// Logs where the probe origin of a listener is, with the token if it was generated.
    pub fn announce(&self, address: &ListenAddress, listener: &Listener) {
        let Some(point) = &listener.doctor else { return };
        let path = point.path();
        match point.token {
            None => {
                let token = self.token.as_str();
                tracing::info!(%address, path, token, "a probe origin for `sidestream doctor` answers here");
            }
            Some(_) => {
                tracing::info!(%address, path, "a probe origin for `sidestream doctor` answers here; it requires `doctor_token`");
            }
        }
    }
}

impl FrontDoor {
    pub fn new(proxy: Proxy, listener: CurrentListener, probe: SharedOrigin) -> Self {
        Self { proxy, listener, probe }
    }

    async fn probe(
        &self,
        mut client: Box<Client>,
        point: DoctorPoint,
        stopped: &watch::Receiver<bool>,
    ) -> Served<Relaying> {
        let started = Instant::now();
        let token = point.token.as_ref().unwrap_or(&self.probe.token);
        let status = self.probe.origin.answer(&mut client, token, stopped).await;
        self.proxy.note_answered(&client, started, status);
        Served::Answered(client)
    }
}

impl App for FrontDoor {
    type Relay = Relaying;

    async fn serve(&self, client: Box<Client>, stopped: &watch::Receiver<bool>) -> Served<Relaying> {
        let listener = self.listener.load();
        let point = listener.doctor.as_ref().filter(|point| point.covers(&client.request().path())).cloned();
        drop(listener);
        match point {
            None => self.proxy.serve(client, stopped).await,
            // Boxed, so that this future does not add to the size of every relay.
            Some(point) => Box::pin(self.probe(client, point, stopped)).await,
        }
    }

    async fn refuse(&self, client: &mut Client, why: BadHead) {
        self.proxy.refuse(client, why).await;
    }
}
