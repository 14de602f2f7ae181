//! Reading and writing shared sockets.

use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind;

use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The size of the read buffer, in bytes.
const READ: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Reads once and passes the bytes to `look`. Returns their number and its result.
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

/// Discards received bytes. Returns their number.
pub async fn discard(tcp: &TcpStream) -> std::io::Result<usize> {
    // With MSG_TRUNC, TCP discards the bytes without a copy (tcp(7)). Only the length of the buffer matters.
    let discard = || SCRATCH.with_borrow_mut(|scratch| Ok(recv(tcp, &mut scratch[..], RecvFlags::TRUNC)?.1));
    tcp.async_io(Interest::READABLE, discard).await
}

/// Sends a part of a file, as much as the socket accepts, without a copy.
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
