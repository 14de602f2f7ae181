//! The lower bound of a relay: one thread, epoll, and bytes that are passed on in both directions without
//! parsing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// The first argument that makes this program this relay.
pub const ROLE: &str = "bare-epoll";

/// The event data of the listener. That of a pair is twice its number plus the side.
const LISTENER: u64 = u64::MAX;
/// The size of the read buffer, which all connections share.
const READ: usize = 64 * 1024;

/// A client and the backend, each with bytes that it has not accepted yet.
struct Pair {
    sides: [TcpStream; 2],
    unsent: [Vec<u8>; 2],
}

/// Runs at this address, forever.
pub fn run(address: SocketAddr, backend: SocketAddr) -> Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let listener = TcpListener::bind(address)?;
    // The standard library uses a backlog of 128, but all clients connect at once.
    rustix::net::listen(&listener, 4096)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs = HashMap::new();
    let mut begun = 0;
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut scratch = vec![0; READ];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let which = event.data.u64();
            if which == LISTENER {
                let (client, _) = listener.accept()?;
                pairs.insert(begun, Pair::begin(&epoll, begun, [client, TcpStream::connect(backend)?])?);
                begun += 1;
                continue;
            }
            let (index, side) = (which / 2, (which % 2) as usize);
            let Some(pair) = pairs.get_mut(&index) else { continue };
            if !matches!(pair.turn(&epoll, index, side, &mut scratch), Ok(true)) {
                pairs.remove(&index);
            }
        }
    }
}

impl Pair {
    fn begin(epoll: &OwnedFd, index: u64, sides: [TcpStream; 2]) -> Result<Self> {
        for (side, tcp) in sides.iter().enumerate() {
            tcp.set_nodelay(true)?;
            tcp.set_nonblocking(true)?;
            epoll::add(epoll, tcp, data(index, side), EventFlags::IN)?;
        }
        Ok(Self { sides, unsent: [Vec::new(), Vec::new()] })
    }

    /// Handles a readable side, or a writable one with unsent bytes. Returns `false` when the exchange is
    /// over.
    fn turn(&mut self, epoll: &OwnedFd, index: u64, side: usize, scratch: &mut [u8]) -> Result<bool> {
        let other = 1 - side;
        if !self.unsent[side].is_empty() {
            let sent = write(&self.sides[side], &self.unsent[side])?;
            self.unsent[side].drain(..sent);
            if self.unsent[side].is_empty() {
                self.watch(epoll, index, side, EventFlags::IN)?;
                self.watch(epoll, index, other, EventFlags::IN)?;
            }
            return Ok(true);
        }
        if !self.unsent[other].is_empty() {
            // This side is not watched for reads, so the event is a hang-up.
            return Ok(false);
        }
        let read = (&self.sides[side]).read(scratch)?;
        let sent = write(&self.sides[other], &scratch[..read])?;
        if sent < read {
            self.unsent[other].extend_from_slice(&scratch[sent..read]);
            self.watch(epoll, index, other, EventFlags::OUT)?;
            self.watch(epoll, index, side, EventFlags::empty())?;
        }
        Ok(read > 0)
    }

    fn watch(&self, epoll: &OwnedFd, index: u64, side: usize, flags: EventFlags) -> Result<()> {
        Ok(epoll::modify(epoll, &self.sides[side], data(index, side), flags)?)
    }
}

fn data(index: u64, side: usize) -> EventData {
    EventData::new_u64(2 * index + side as u64)
}

/// Returns the number of bytes written, or 0 if the write would block.
fn write(mut tcp: &TcpStream, bytes: &[u8]) -> Result<usize> {
    match tcp.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
