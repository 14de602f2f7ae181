//! Reading and writing a socket that several have in their hands.

use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind;

use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of one read.
const READ: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Reads once and looks at it; returns how much it was and what of interest is in it.
pub async fn read<T>(tcp: &TcpStream, mut look: impl FnMut(&[u8]) -> T) -> std::io::Result<(usize, T)> {
    loop {
        tcp.readable().await?;
        let result: std::io::Result<_> = SCRATCH.with_borrow_mut(|scratch| {
            let read = tcp.try_read(scratch)?;
            Ok((read, look(&scratch[..read])))
        });
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Throws away what there is, and returns how much it was.
pub async fn discard(tcp: &TcpStream) -> std::io::Result<usize> {
    // TCP takes the flag as a wish not to copy (tcp(7)), so the room is for its length alone.
    let discard = || SCRATCH.with_borrow_mut(|scratch| Ok(recv(tcp, &mut scratch[..], RecvFlags::TRUNC)?.1));
    tcp.async_io(Interest::READABLE, discard).await
}

/// Writes a part of a file, as much as the socket takes, without a copy of it.
pub async fn send_file(tcp: &TcpStream, file: &File, offset: &mut u64, end: u64) -> std::io::Result<()> {
    let length = (end - *offset) as usize;
    tcp.async_io(Interest::WRITABLE, || Ok(sendfile(tcp, file, Some(offset), length)?)).await?;
    Ok(())
}

pub async fn write_all(tcp: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match tcp.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => tcp.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
