//! The proxies that are compared, each as its users would set it up for event streams, with one worker.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::kit::socket::free_address;
use crate::process::Process;
use crate::{bare_epoll, bare_tokio};

/// A kind of proxy, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Direct,
    Sidestream,
    /// Another build of sidestream, which the environment variable `BASELINE` names.
    Baseline,
    Nginx,
    Haproxy,
    HaproxyTcp,
    Caddy,
    Envoy,
    BareEpoll,
    BareTokio,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Direct,
        Self::Sidestream,
        Self::Baseline,
        Self::Nginx,
        Self::Haproxy,
        Self::HaproxyTcp,
        Self::Caddy,
        Self::Envoy,
        Self::BareEpoll,
        Self::BareTokio,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Sidestream => "sidestream",
            Self::Baseline => "baseline",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::HaproxyTcp => "haproxy-tcp",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::BareEpoll => bare_epoll::ROLE,
            Self::BareTokio => bare_tokio::ROLE,
        }
    }

    /// Whether its client side speaks HTTP/2 over TLS.
    pub fn speaks_http2(self) -> bool {
        !matches!(self, Self::Direct | Self::HaproxyTcp | Self::BareEpoll | Self::BareTokio)
    }

    /// What is installed, in its own words; `None`: nothing is.
    pub fn version(self) -> Option<String> {
        let flag = match self {
            Self::Direct => return Some("no proxy".to_owned()),
            Self::BareEpoll | Self::BareTokio => return Some("a floor, no proxy".to_owned()),
            Self::Sidestream | Self::Baseline | Self::Envoy => "--version",
            Self::Caddy => "version",
            _ => "-v",
        };
        let output = Command::new(self.program()?).arg(flag).stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        said.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// The program, where a variable in the environment names it, or where it is on the path.
    fn program(self) -> Option<PathBuf> {
        let named = |variable: &str, default: &str| {
            Some(PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| default.into())))
        };
        match self {
            Self::Direct => None,
            Self::Sidestream => Some(env!("CARGO_BIN_EXE_sidestream").into()),
            Self::Baseline => std::env::var_os("BASELINE").map(PathBuf::from),
            Self::Nginx => named("NGINX", "nginx"),
            Self::Haproxy | Self::HaproxyTcp => named("HAPROXY", "haproxy"),
            Self::Caddy => named("CADDY", "caddy"),
            Self::Envoy => named("ENVOY", "envoy"),
            Self::BareEpoll | Self::BareTokio => std::env::current_exe().ok(),
        }
    }

    /// Starts one in front of this backend.
    pub fn start(self, backend: SocketAddr, certificate: &Certificate) -> Running {
        let (plain, tls) = (free_address(), free_address());
        let files = TempDir::new().expect("a folder");
        if matches!(self, Self::Direct) {
            return Running { plain: backend, tls, process: None, _files: files };
        }
        let config = self.config(plain, tls, backend, certificate);
        let file = files.path().join(self.file_name());
        fs::write(&file, &config).expect("a file");
        let mut command = Command::new(self.program().expect("a peer that is installed"));
        match self {
            // They have no file.
            Self::BareEpoll | Self::BareTokio => {
                command.arg(self.name()).args([plain, backend].map(|address| address.to_string()));
            }
            _ => self.arguments(&mut command, &file),
        }
        command
            .env("GOMAXPROCS", "1")
            .env("XDG_DATA_HOME", files.path())
            .env("XDG_CONFIG_HOME", files.path());
        if std::env::var_os("PEERS_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let process = Process::start(command);
        wait_for(plain, self.name());
        Running { plain, tls, process: Some(process), _files: files }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy | Self::HaproxyTcp => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
            _ => "config.yaml",
        }
    }

    fn arguments(self, command: &mut Command, file: &Path) {
        match self {
            Self::Direct | Self::BareEpoll | Self::BareTokio => {}
            Self::Sidestream | Self::Baseline => {
                command.args(["run", "--config"]).arg(file).env("RUST_LOG", "error,h2=off");
            }
            Self::Nginx => {
                command
                    .arg("-p")
                    .arg(file.parent().expect("a folder"))
                    .args(["-e", "stderr", "-c"])
                    .arg(file);
            }
            Self::Haproxy | Self::HaproxyTcp => {
                command.args(["-db", "-f"]).arg(file);
            }
            Self::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            }
            Self::Envoy => {
                command
                    .args(["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c"])
                    .arg(file);
            }
        }
    }

    /// Its configuration, which the report shows too.
    pub fn config(
        self,
        plain: SocketAddr,
        tls: SocketAddr,
        backend: SocketAddr,
        certificate: &Certificate,
    ) -> String {
        let template = match self {
            Self::Direct | Self::BareEpoll | Self::BareTokio => "",
            Self::Sidestream | Self::Baseline => include_str!("configs/sidestream.yaml"),
            Self::Nginx => include_str!("configs/nginx.conf"),
            Self::Haproxy => include_str!("configs/haproxy.cfg"),
            Self::HaproxyTcp => include_str!("configs/haproxy-tcp.cfg"),
            Self::Caddy => include_str!("configs/Caddyfile"),
            Self::Envoy => include_str!("configs/envoy.yaml"),
        };
        let path = |path: PathBuf| path.display().to_string();
        template
            .replace("@PLAIN_PORT@", &plain.port().to_string())
            .replace("@TLS_PORT@", &tls.port().to_string())
            .replace("@BACKEND_PORT@", &backend.port().to_string())
            .replace("@CERTIFICATE@", &path(certificate.chain()))
            .replace("@KEY@", &path(certificate.key()))
            .replace("@BOTH@", &path(certificate.both()))
    }
}

/// Waits until somebody listens there.
pub fn wait_for(address: SocketAddr, name: &str) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A proxy that runs, ended when dropped.
pub struct Running {
    pub plain: SocketAddr,
    /// HTTP/2 over TLS.
    pub tls: SocketAddr,
    process: Option<Process>,
    _files: TempDir,
}

impl Running {
    /// CPU time of all its threads so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        self.process.as_ref().map_or(Duration::ZERO, Process::cpu_time)
    }

    /// Resident bytes of all its processes, shared pages counted by share (PSS).
    pub fn memory(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::memory)
    }
}
