//! Other proxies in front of the same backend, with their default behavior.

use std::net::SocketAddr;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::bodies::MAX_REQUEST_BODY;
use crate::kit::{Within, free_address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    Haproxy,
}

/// Without a master process, so that killing the process stops all of nginx.
const NGINX: &str = "
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size @LIMIT@;
  client_header_timeout 1m;
  client_body_timeout 1m;
  keepalive_timeout 1m;
  server {
    listen 127.0.0.1:@PORT@;
    location / {
      proxy_pass http://@BACKEND@;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_read_timeout 400ms;
    }
  }
}
";

const HAPROXY: &str = "
global
  nbthread 1

defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 400ms

frontend clients
  bind 127.0.0.1:@PORT@
  default_backend llm

backend llm
  server llm @BACKEND@
";

impl Peer {
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Haproxy];

    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The installed version, such as `nginx 1.22.1`. `None`: it is not installed.
    pub fn version(self) -> Option<String> {
        let output = std::process::Command::new(self.program()).arg("-v").output().ok()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let version =
            said.split(['/', ' ', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let version = version.split(['-', '+']).next().unwrap_or(version);
        let name = if self == Self::Nginx { "nginx" } else { "HAProxy" };
        Some(format!("{name} {version}"))
    }

    pub async fn start(self, backend: SocketAddr) -> Running {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("configuration");
        let address = free_address();
        let template = if self == Self::Nginx { NGINX } else { HAPROXY };
        let configuration = template
            .replace("@PORT@", &address.port().to_string())
            .replace("@BACKEND@", &backend.to_string())
            .replace("@LIMIT@", &MAX_REQUEST_BODY.to_string());
        std::fs::write(&file, configuration).expect("a file");
        let mut command = Command::new(self.program());
        match self {
            Self::Nginx => command.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c"]).arg(&file),
            Self::Haproxy => command.args(["-db", "-f"]).arg(&file),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().expect("a process");
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        listens.soon().await;
        Running { address, _child: child, _folder: folder }
    }
}

/// A running proxy. Dropping it stops it.
pub struct Running {
    pub address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}
