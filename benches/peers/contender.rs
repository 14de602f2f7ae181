//! A participant of a comparison: a proxy with a number of workers, configured for event streams as its users
//! would.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::kit::socket::free_address;
use crate::peers::Peer;
use crate::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    pub peer: Peer,
    pub workers: usize,
}

impl Contender {
    /// With one worker.
    pub fn of(peer: Peer) -> Self {
        Self { peer, workers: 1 }
    }

    pub fn name(self) -> String {
        match self.workers {
            1 => self.peer.name().to_owned(),
            workers => format!("{}, {workers} workers", self.peer.name()),
        }
    }

    /// Starts the proxy in front of this backend.
    pub fn start(self, backend: SocketAddr, certificate: &Certificate) -> Running {
        let (plain, tls) = (free_address(), free_address());
        let files = TempDir::new().expect("a folder");
        if self.peer == Peer::Direct {
            return Running { plain: backend, tls, process: None, _files: files };
        }
        let config = self.config(plain, tls, backend, certificate);
        let file = files.path().join(self.file_name());
        fs::write(&file, &config).expect("a file");
        let mut command = Command::new(self.peer.program().expect("a peer that is installed"));
        match self.peer {
            peer if peer.is_bare() => {
                command.arg(self.peer.name()).args([plain, backend].map(|address| address.to_string()));
            }
            _ => self.arguments(&mut command, &file),
        }
        command
            .env("GOMAXPROCS", self.workers.to_string())
            .env("XDG_DATA_HOME", files.path())
            .env("XDG_CONFIG_HOME", files.path());
        if std::env::var_os("PEERS_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let process = Process::start(command);
        wait_for(plain, self.peer.name());
        Running { plain, tls, process: Some(process), _files: files }
    }

    fn file_name(self) -> &'static str {
        match self.peer {
            Peer::Nginx => "nginx.conf",
            Peer::Haproxy | Peer::HaproxyTcp => "haproxy.cfg",
            Peer::Caddy => "Caddyfile",
            _ => "config.yaml",
        }
    }

    fn arguments(self, command: &mut Command, file: &Path) {
        match self.peer {
            Peer::Direct | Peer::BareEpoll | Peer::BareTokio | Peer::PingoraClient => {}
            Peer::Sidestream | Peer::Baseline => {
                command.args(["run", "--config"]).arg(file).env("RUST_LOG", "error,h2=off");
            }
            Peer::Nginx => {
                command
                    .arg("-p")
                    .arg(file.parent().expect("a folder"))
                    .args(["-e", "stderr", "-c"])
                    .arg(file);
            }
            Peer::Haproxy | Peer::HaproxyTcp => {
                command.args(["-db", "-f"]).arg(file);
            }
            Peer::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            }
            Peer::Envoy => {
                command
                    .args(["--concurrency", &self.workers.to_string()])
                    .args(["--log-level", "error", "--use-dynamic-base-id", "-c"])
                    .arg(file);
            }
        }
    }

    /// The configuration, which the report includes.
    pub fn config(
        self,
        plain: SocketAddr,
        tls: SocketAddr,
        backend: SocketAddr,
        certificate: &Certificate,
    ) -> String {
        let template = match self.peer {
            Peer::Direct | Peer::BareEpoll | Peer::BareTokio | Peer::PingoraClient => "",
            Peer::Sidestream | Peer::Baseline => include_str!("configs/sidestream.yaml"),
            Peer::Nginx => include_str!("configs/nginx.conf"),
            Peer::Haproxy => include_str!("configs/haproxy.cfg"),
            Peer::HaproxyTcp => include_str!("configs/haproxy-tcp.cfg"),
            Peer::Caddy => include_str!("configs/Caddyfile"),
            Peer::Envoy => include_str!("configs/envoy.yaml"),
        };
        let path = |path: PathBuf| path.display().to_string();
        template
            .replace("@WORKERS@", &self.workers.to_string())
            .replace("@PLAIN_PORT@", &plain.port().to_string())
            .replace("@TLS_PORT@", &tls.port().to_string())
            .replace("@BACKEND_PORT@", &backend.port().to_string())
            .replace("@CERTIFICATE@", &path(certificate.chain()))
            .replace("@KEY@", &path(certificate.key()))
            .replace("@BOTH@", &path(certificate.both()))
    }
}

/// Waits until something listens at the address.
pub fn wait_for(address: SocketAddr, name: &str) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running proxy. Killed on drop.
pub struct Running {
    pub plain: SocketAddr,
    /// The address for HTTP/2 over TLS.
    pub tls: SocketAddr,
    process: Option<Process>,
    _files: TempDir,
}

impl Running {
    /// The CPU time of all threads so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu_time)
    }

    /// The resident memory of all processes in bytes. Shared pages count by share (PSS).
    pub fn memory(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::memory)
    }
}
