//! The `sidestream` program in a separate process.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use std::process::{ExitStatus, Stdio};

use command_fds::CommandFdExt;
use command_fds::FdMapping;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::{Backend, Client, Within};

/// The program in a separate process, with a configuration file and a socket in place of systemd's.
pub struct Process {
    child: Child,
    folder: TempDir,
    log: mpsc::UnboundedReceiver<String>,
    systemd: tokio::net::UnixDatagram,
    /// Its listening addresses: those for clients first, the admin address last.
    pub addresses: Vec<SocketAddr>,
}

impl Process {
    /// `more` is additional YAML after the first three lines of the file.
    pub async fn in_front_of(backend: &Backend, more: &str) -> Self {
        Self::start(backend, more, "127.0.0.1:0", Vec::new()).await
    }

    /// Starts it with these limits on descriptors.
    pub async fn with_descriptors(backend: &Backend, soft: u32, hard: u32, more: &str) -> Self {
        let mut shell = std::process::Command::new("sh");
        let limit = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limit, env!("CARGO_BIN_EXE_sidestream")]);
        Self::start_by(shell, backend, more, "127.0.0.1:0", Vec::new()).await
    }

    /// Starts a copy of the program.
    pub async fn of_program(program: &std::path::Path, backend: &Backend) -> Self {
        let program = std::process::Command::new(program);
        Self::start_by(program, backend, "", "127.0.0.1:0", Vec::new()).await
    }

    /// Starts it with sockets passed in systemd's way.
    pub async fn start(backend: &Backend, more: &str, listen: &str, sockets: Vec<OwnedFd>) -> Self {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_sidestream"));
        Self::start_by(program, backend, more, listen, sockets).await
    }

    /// `command` runs the program; arguments are appended to it.
    async fn start_by(
        mut command: std::process::Command,
        backend: &Backend,
        more: &str,
        listen: &str,
        sockets: Vec<OwnedFd>,
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let notify = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&notify).expect("a socket");
        systemd.set_nonblocking(true).expect("a socket");
        command.args(["run", "--config"]).arg(folder.path().join("sidestream.yaml"));
        command.env("NO_COLOR", "1").env_remove("RUST_LOG").env("NOTIFY_SOCKET", &notify);
        command
            .env("WATCHDOG_USEC", "200000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if !sockets.is_empty() {
            command.env("LISTEN_FDS", sockets.len().to_string());
            let mapping = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
            command.fd_mappings(mapping.collect()).expect("descriptors");
        }
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        write(&folder, &yaml(backend, listen, more));
        let mut child = command.spawn().expect("the program");
        let (say, log) = mpsc::unbounded_channel();
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
                let _ = say.send(line);
            }
        });
        let systemd = tokio::net::UnixDatagram::from_std(systemd).expect("a socket");
        let mut process = Self { child, folder, log, systemd, addresses: Vec::new() };
        process.told("READY=1").await;
        for _ in 0..2 {
            let line = process.logs("listening address=").await;
            let address = line.rsplit('=').next().and_then(|a| a.parse().ok());
            process.addresses.push(address.expect("an address"));
        }
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("a process that runs")
    }

    /// Rewrites the configuration file.
    pub fn configure(&self, backend: &Backend, more: &str) {
        write(&self.folder, &yaml(backend, &self.addresses[0].to_string(), more));
    }

    /// Like [`Self::configure`], with these keys of its upstream.
    pub fn configure_upstream(&self, backend: &Backend, keys: &str) {
        let yaml = yaml(backend, &self.addresses[0].to_string(), "");
        let (before, after) = yaml.split_once("] } }").expect("servers");
        write(&self.folder, &format!("{before}], {keys} }} }}{after}"));
    }

    /// Like [`Self::configure`], with this listener.
    pub fn configure_listener(&self, backend: &Backend, listen: &str) {
        write(&self.folder, &yaml(backend, listen, ""));
    }

    pub fn configure_badly(&self) {
        write(&self.folder, "listeners: here\n");
    }

    pub fn signal(&self, signal: Signal) {
        signal_to(self.pid(), signal);
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.addresses[0]).await
    }

    /// Waits for a log line that contains `text`.
    pub async fn logs(&mut self, text: &str) -> String {
        loop {
            let line = self.log.recv().soon().await.expect("a process that runs");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Whether a log line since the last awaited one contains `text`.
    pub fn has_logged(&mut self, text: &str) -> bool {
        std::iter::from_fn(|| self.log.try_recv().ok()).any(|line| line.contains(text))
    }

    /// Waits until systemd receives a line that begins with `text`, and returns that line.
    pub async fn told(&mut self, text: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let length = self.systemd.recv(&mut message).soon().await.expect("a message");
            let message = String::from_utf8_lossy(&message[..length]);
            if let Some(line) = message.lines().find(|line| line.starts_with(text)) {
                return line.to_owned();
            }
        }
    }

    pub async fn ended(&mut self) -> ExitStatus {
        self.child.wait().soon().await.expect("a process")
    }
}

pub fn signal_to(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a process that runs");
}

fn yaml(backend: &Backend, listen: &str, more: &str) -> String {
    format!(
        "listeners: [{{ address: {listen} }}]\nadmin: {{ address: 127.0.0.1:0 }}\n\
         upstreams: {{ llm: {{ servers: [{}] }} }}\n{more}\n",
        backend.url
    )
}

fn write(folder: &TempDir, yaml: &str) {
    std::fs::write(folder.path().join("sidestream.yaml"), yaml).expect("a file");
}
