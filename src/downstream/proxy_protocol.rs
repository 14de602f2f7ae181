//! The header of the PROXY protocol, in which a proxy in front of sidestream names the client (haproxy.org,
//! proxy-protocol.txt).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};

/// Maximum header size, in bytes. Version 1 allows 107 bytes; version 2 allows longer headers than this.
const MAX: usize = 4096;

/// A parsed header.
pub struct ProxyHeader {
    pub length: usize,
    /// `None` if the proxy names no client, as in its own health checks.
    pub client: Option<SocketAddr>,
}

impl ProxyHeader {
    /// Parses the header at the start of the bytes; `None` means that it is incomplete.
    pub fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let parsed = HeaderResult::parse(bytes);
        if parsed.is_complete() {
            return Self::of(parsed).map(Some).ok_or_else(no_header);
        }
        if bytes.len() < MAX { Ok(None) } else { Err(no_header()) }
    }

    fn of(parsed: HeaderResult) -> Option<Self> {
        match parsed {
            HeaderResult::V1(header) => {
                let header = header.ok()?;
                let client = match header.addresses {
                    v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
                    v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
                    v1::Addresses::Unknown => None,
                };
                Some(Self { length: header.header.len(), client })
            }
            HeaderResult::V2(header) => {
                let header = header.ok()?;
                let client = match (header.command, header.addresses) {
                    (v2::Command::Proxy, v2::Addresses::IPv4(of)) => {
                        Some((of.source_address, of.source_port).into())
                    }
                    (v2::Command::Proxy, v2::Addresses::IPv6(of)) => {
                        Some((of.source_address, of.source_port).into())
                    }
                    _ => None,
                };
                Some(Self { length: header.header.len(), client })
            }
        }
    }
}

fn no_header() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the connection does not begin with a valid PROXY protocol header")
}
