//! The header of the PROXY protocol, in which a proxy in front names the client (haproxy.org, proxy-protocol.txt).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};

/// Bytes of a header: 107 in the first version, and in the second as many as its sender likes.
const MAX: usize = 4096;

/// What a header says.
pub struct ProxyHeader {
    pub length: usize,
    /// `None`: the proxy speaks for itself.
    pub client: Option<SocketAddr>,
}

impl ProxyHeader {
    /// Reads the header that these bytes begin with; `None`: it is not all there yet.
    pub fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let parsed = HeaderResult::parse(bytes);
        if parsed.is_complete() {
            return Self::of(parsed).map(Some).ok_or_else(|| ErrorKind::InvalidData.into());
        }
        if bytes.len() < MAX { Ok(None) } else { Err(ErrorKind::InvalidData.into()) }
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
