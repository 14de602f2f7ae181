//! The lower bound of a relay that passes whole events: one tokio thread, which decodes chunks and writes
//! each batch of whole events as a chunk. It has no timers, does not parse events, and trusts the backend.

use std::io::{Error, ErrorKind, Result, Write};
use std::net::SocketAddr;

use memchr::memmem;
use tokio::net::TcpStream;

use crate::kit::socket::{Port, accept_each};
use crate::kit::wire::{LAST_CHUNK, first_chunk, head_length};
use crate::sockets::{read, write_all};

/// The first argument that makes this program this relay.
pub const ROLE: &str = "bare-tokio";

/// Runs at this address, forever.
pub async fn run(address: SocketAddr, backend: SocketAddr) {
    let serve = |client| {
        tokio::task::spawn_local(async move {
            // Ends with its connections, in any way.
            let _ = relay(&client, backend).await;
        });
    };
    tokio::task::LocalSet::new().run_until(accept_each(Port::of(address).listen(), serve)).await;
}

/// Relays one exchange after the other.
async fn relay(client: &TcpStream, backend: SocketAddr) -> Result<()> {
    let upstream = TcpStream::connect(backend).await?;
    upstream.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        while head_length(&request).is_none() {
            some(read(client, |bytes| request.extend_from_slice(bytes)).await?)?;
        }
        write_all(&upstream, &request).await?;
        request.clear();
        respond(client, &upstream, &mut request).await?;
    }
}

/// `request`: collects what the client sends meanwhile, which is the start of the next request.
async fn respond(client: &TcpStream, upstream: &TcpStream, request: &mut Vec<u8>) -> Result<()> {
    let (mut input, mut output, mut body) = (Vec::new(), Vec::new(), None);
    loop {
        tokio::select! {
            result = read(upstream, |bytes| input.extend_from_slice(bytes)) => some(result?)?,
            result = read(client, |bytes| request.extend_from_slice(bytes)) => {
                some(result?)?;
                continue;
            }
        }
        if body.is_none() {
            let Some(length) = head_length(&input) else { continue };
            output.extend(input.drain(..length));
            body = Some(Body::default());
        }
        let is_over = body.as_mut().map_or(Ok(false), |body| body.pass(&mut input, &mut output))?;
        write_all(client, &output).await?;
        output.clear();
        if is_over {
            return Ok(());
        }
    }
}

/// The decoded body so far; its last event may be incomplete.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    /// Consumes whole chunks and writes whole events as one chunk. Returns whether the body is over.
    fn pass(&mut self, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<bool> {
        let (mut taken, mut is_over) = (0, false);
        while let Some((data, length)) = first_chunk(&input[taken..]).map_err(Error::other)? {
            is_over = data.is_empty();
            self.0.extend_from_slice(&input[taken..][data]);
            taken += length;
        }
        input.drain(..taken);
        let whole = memmem::rfind(&self.0, b"\n\n").map_or(0, |at| at + 2);
        if whole > 0 {
            write!(output, "{whole:x}\r\n")?;
            output.extend(self.0.drain(..whole));
            output.extend_from_slice(b"\r\n");
        }
        if is_over {
            output.extend_from_slice(LAST_CHUNK.as_bytes());
        }
        Ok(is_over)
    }
}

/// Treats the end of the connection as an error.
fn some((read, ()): (usize, ())) -> Result<()> {
    if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
