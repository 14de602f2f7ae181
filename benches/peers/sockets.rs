//! Reading and writing a socket that several have in their hands.

use std::cell::RefCell;
use std::io::ErrorKind;

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
