use std::net::SocketAddr;

use sidestream::config::{self, ConfigError};
use sidestream::process::{Reloader, Server, Stop};
use tokio::sync::oneshot;

use super::{Backend, Client, Within};

/// A sidestream in this process, in front of a backend.
pub struct Sidestream {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What it was configured with.
    pub yaml: String,
    reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    stopped: tokio::task::JoinHandle<()>,
}

impl Sidestream {
    pub async fn in_front_of(backend: &Backend) -> Self {
        Self::with(backend, "").await
    }

    /// `stream`: the keys of the `stream` section, such as `heartbeat: 1s, idle_timeout: 5s`.
    pub async fn with(backend: &Backend, stream: &str) -> Self {
        Self::configured(&format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\n\
             upstreams: {{ llm: {{ servers: [http://{}] }} }}\nstream: {{ {stream} }}\n",
            backend.address
        ))
        .await
    }

    pub async fn configured(yaml: &str) -> Self {
        let config = config::parse(yaml, "test.yaml").expect("a valid configuration");
        let server = Server::bind(&config).expect("free ports");
        // Where all listeners are unix sockets there is none, and nobody asks for it.
        let address = server.addresses().first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
        let admin = server.admin_address().expect("an admin listener");
        let reloader = server.reloader();
        let (stop, stopping) = oneshot::channel();
        let stopped = tokio::spawn(server.run(async {
            let _ = stopping.await;
            Stop::Ended
        }));
        Self { address, admin, yaml: yaml.to_owned(), reloader, stop: Some(stop), stopped }
    }

    /// Configures it anew; returns the keys that need a restart.
    pub fn reload(&self, yaml: &str) -> Result<Vec<&'static str>, ConfigError> {
        Ok(self.reloader.apply(&config::parse(yaml, "test.yaml")?))
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Asks it to stop, and returns the task that ends when it has.
    pub fn stop(mut self) -> tokio::task::JoinHandle<()> {
        let stop = self.stop.take().expect("not stopped before");
        stop.send(()).expect("a server that runs");
        self.stopped
    }

    /// The value of a series, such as `sidestream_requests_total{route="default",status="200"}`.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.scrape().await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or("0").parse().expect("a number")
    }

    pub async fn scrape(&self) -> String {
        self.ask_admin("/metrics").await.1
    }

    /// What the admin listener answers: a status and a body.
    pub async fn ask_admin(&self, path: &str) -> (u16, String) {
        let mut client = Client::connect(self.admin).await;
        let response = client.get(path).await;
        let length = response.field("content-length").expect("a length").parse().expect("a length");
        (response.status, String::from_utf8(client.exactly(length).await).expect("UTF-8"))
    }

    /// Waits until it has seen what was sent to it before: its answer comes a turn of the runtime later, and all of it runs on the
    /// one of the test.
    pub async fn catches_up(&self) {
        self.scrape().await;
    }

    /// Waits until a series has this value.
    pub async fn reaches(&self, series: &str, value: f64) {
        let reached = async {
            while (self.metric(series).await - value).abs() > f64::EPSILON {
                tokio::task::yield_now().await;
            }
        };
        reached.soon().await;
    }
}
