//! `sidestream health`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Args;
use sidestream::http1::ResponseHead;

use super::error::CliError;

/// The time for the whole check. `/readyz` answers within one second.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of a response that are read.
const MAX_SIZE: usize = 64 * 1024;

#[derive(Args)]
pub struct Health {
    /// The admin address of the process
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: String,
    /// Ask whether new requests can be served (/readyz), not only whether the process runs (/healthz)
    #[arg(long)]
    ready: bool,
}

impl Health {
    /// Succeeds if the process is healthy.
    pub fn check(&self) -> Result<(), CliError> {
        let address: SocketAddr = self.admin.parse().map_err(|_| {
            let text = &self.admin;
            CliError::usage(format!(
                "--admin: `{text}` is not an address\n  write an IP address and a port, such as `127.0.0.1:9090`"
            ))
        })?;
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let failed = |problem: &str| CliError::running(format!("http://{address}{path}: {problem}"));
        let mut response = get(address, path).map_err(|error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                failed(&format!("no answer within {} s", TIMEOUT.as_secs()))
            }
            _ => failed(&error.to_string()),
        })?;
        match ResponseHead::parse(&mut response) {
            Ok(Some(head)) if head.status.is_success() => Ok(()),
            Ok(Some(head)) => {
                let body = String::from_utf8_lossy(&response);
                let reason = body.lines().next().unwrap_or_default();
                Err(failed(&format!("{}: {}", head.status.as_u16(), reason.escape_debug())))
            }
            Ok(None) | Err(_) => Err(failed("the answer is not HTTP")),
        }
    }
}

/// The response of the admin listener. Blocks, because nothing else happens in this process.
fn get(address: SocketAddr, path: &str) -> io::Result<BytesMut> {
    let deadline = Instant::now() + TIMEOUT;
    // A timeout of zero is an error of the caller in std.
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut connection = TcpStream::connect_timeout(&address, left()?)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut response = BytesMut::new();
    let mut piece = [0; 4096];
    while response.len() < MAX_SIZE {
        connection.set_read_timeout(Some(left()?))?;
        match connection.read(&mut piece)? {
            0 => break,
            length => response.extend_from_slice(&piece[..length]),
        }
    }
    Ok(response)
}
