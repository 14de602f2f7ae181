//! A sidestream server in the process of the test. Tests and fuzzers start the library's server only here.

use std::net::SocketAddr;
use std::path::Path;

use sidestream::config::{self, ConfigError};
use sidestream::process::{Reloader, Server, Stop};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::backend::Backend;
use super::client::Client;
use super::wire::UPGRADE;
use super::within::Within;

/// A sidestream in this process, in front of a backend.
pub struct Sidestream {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Its configuration.
    pub yaml: String,
    reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    stopped: JoinHandle<()>,
}

/// A configuration with one listener and one upstream, `llm`. Only keys that differ from their defaults are
/// set, such as `heartbeat: 1s, idle_timeout: 5s`.
#[derive(Default)]
pub struct Setup {
    address: String,
    listener: String,
    server: String,
    upstream: String,
    stream: String,
    access_log: String,
    more: String,
}

impl Setup {
    /// The listening address, if not a port of 127.0.0.1.
    pub fn address(mut self, address: String) -> Self {
        self.address = address;
        self
    }

    pub fn listener(mut self, keys: impl Into<String>) -> Self {
        self.listener = keys.into();
        self
    }

    pub fn upstream(mut self, keys: impl Into<String>) -> Self {
        self.upstream = keys.into();
        self
    }

    pub fn stream(mut self, keys: impl AsRef<str>) -> Self {
        self.stream = format!("stream: {{ {} }}", keys.as_ref());
        self
    }

    pub fn access_log(mut self, path: &Path) -> Self {
        self.access_log = format!("{{ path: '{}' }}", path.display());
        self
    }

    /// Additional sections.
    pub fn more(mut self, yaml: impl Into<String>) -> Self {
        self.more = yaml.into();
        self
    }

    pub fn yaml(&self) -> String {
        let Self { address, listener, server, upstream, stream, access_log, more } = self;
        format!(
            "listeners: [{{ address: '{address}', {listener} }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: {access_log}\n\
             upstreams: {{ llm: {{ servers: ['{server}'], {upstream} }} }}\n{stream}\n{more}\n"
        )
    }

    pub async fn start(self) -> Sidestream {
        Sidestream::configured(&self.yaml()).await
    }
}

impl Sidestream {
    /// Configures a sidestream in front of this server, such as `http://127.0.0.1:1`.
    pub fn before(server: impl Into<String>) -> Setup {
        Setup {
            address: "127.0.0.1:0".to_owned(),
            server: server.into(),
            access_log: "off".to_owned(),
            ..Setup::default()
        }
    }

    /// Configures a sidestream in front of all these backends.
    pub fn before_all<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> Setup {
        let urls: Vec<_> = backends.into_iter().map(|backend| backend.url.as_str()).collect();
        Self::before(urls.join("', '"))
    }

    pub async fn in_front_of(backend: &Backend) -> Self {
        Self::before(&backend.url).start().await
    }

    /// `stream` contains keys of the `stream` section.
    pub async fn with(backend: &Backend, stream: &str) -> Self {
        Self::before(&backend.url).stream(stream).start().await
    }

    pub async fn configured(yaml: &str) -> Self {
        let config = config::parse(yaml, "test.yaml").expect("a valid configuration");
        let server = Server::bind(&config).expect("free ports");
        // Placeholder if all listeners are Unix sockets or there is no admin listener; never used then.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = server.addresses().first().copied().unwrap_or(nowhere);
        let admin = server.admin_address().unwrap_or(nowhere);
        let reloader = server.reloader();
        let (stop, stopping) = oneshot::channel();
        let stopped = tokio::spawn(server.run(async {
            let _ = stopping.await;
            Stop::Ended
        }));
        Self { address, admin, yaml: yaml.to_owned(), reloader, stop: Some(stop), stopped }
    }

    /// Applies a new configuration. Returns the keys that need a restart.
    pub fn reload(&self, yaml: &str) -> Result<Vec<&'static str>, ConfigError> {
        Ok(self.reloader.apply(&config::parse(yaml, "test.yaml")?))
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Opens a WebSocket.
    pub async fn websocket(&self) -> Client {
        let mut client = self.client().await;
        client.send(UPGRADE).await;
        assert_eq!(client.response().await.status, 101);
        client
    }

    /// Stops the server. Returns the task that ends when it has stopped.
    pub fn stop(mut self) -> JoinHandle<()> {
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

    /// Requests a path from the admin listener. Returns the status and the body.
    pub async fn ask_admin(&self, path: &str) -> (u16, String) {
        let mut client = Client::connect(self.admin).await;
        let response = client.get(path).await;
        let body = client.body_of(&response).await;
        (response.status, String::from_utf8(body).expect("UTF-8"))
    }

    /// Waits until the server has processed everything sent to it before. Server and test share one runtime
    /// thread, so a response to a later request shows that.
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
