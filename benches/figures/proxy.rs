//! The proxies under measurement.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::kit::socket::free_address;
use crate::process::Process;

/// A proxy process and its children. Killed on drop.
pub struct Proxy {
    pub address: SocketAddr,
    /// The admin listener, for sidestream only.
    pub admin: SocketAddr,
    process: Process,
    _files: TempDir,
}

impl Proxy {
    /// The release binary with one worker thread. `stream`: the `stream` section of its configuration.
    pub fn sidestream(backend: SocketAddr, stream: &str) -> Self {
        Self::sidestream_with(backend, stream, "off")
    }

    /// Also sets the `access_log` section.
    pub fn sidestream_with(backend: SocketAddr, stream: &str, access_log: &str) -> Self {
        Self::binary(Path::new(env!("CARGO_BIN_EXE_sidestream")), backend, stream, access_log, "5m")
    }

    /// Sets `drain_timeout`.
    pub fn sidestream_draining(backend: SocketAddr, drain_timeout: &str) -> Self {
        Self::binary(Path::new(env!("CARGO_BIN_EXE_sidestream")), backend, "", "off", drain_timeout)
    }

    /// nginx with one worker, configured for WebSockets. `None` if it is not installed. The environment
    /// variable `NGINX` names the program.
    pub fn nginx(backend: SocketAddr) -> Option<Self> {
        let program = std::env::var_os("NGINX").unwrap_or_else(|| "nginx".into());
        Command::new(&program).arg("-v").stderr(Stdio::null()).status().ok()?;
        let address = free_address();
        let config = include_str!("nginx-websocket.conf")
            .replace("@ADDRESS@", &address.to_string())
            .replace("@BACKEND@", &backend.to_string());
        let start = |file: &Path| {
            let mut command = Command::new(program);
            command.arg("-p").arg(file.parent().expect("a folder")).args(["-e", "stderr", "-c"]).arg(file);
            command
        };
        Some(Self::start(address, "nginx.conf", &config, start))
    }

    fn binary(binary: &Path, backend: SocketAddr, stream: &str, access_log: &str, drain: &str) -> Self {
        let (address, admin) = (free_address(), free_address());
        let config = format!(
            "listeners: [{{ address: '{address}' }}]\nadmin: {{ address: '{admin}' }}\nserver: {{ threads: 1, drain_timeout: {drain} }}\n\
             upstreams: {{ llm: {{ servers: ['http://{backend}'] }} }}\nstream: {{ {stream} }}\n\
             access_log: {access_log}\n"
        );
        let start = |file: &Path| {
            let mut command = Command::new(binary);
            command.args(["run", "--config"]).arg(file).env("RUST_LOG", "warn,h2=error");
            command
        };
        let mut proxy = Self::start(address, "sidestream.yaml", &config, start);
        proxy.admin = admin;
        proxy
    }

    fn start(address: SocketAddr, name: &str, config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let files = TempDir::new().expect("a folder");
        let file = files.path().join(name);
        fs::write(&file, config).expect("a file");
        let process = Process::start(command(&file));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "{name}: nothing listens on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { address, admin: address, process, _files: files }
    }

    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until the process has exited.
    pub fn wait(&mut self) {
        self.process.wait();
    }

    /// The CPU time of all threads so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// The resident memory of all processes in bytes. Shared pages count by share (PSS).
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }
}
