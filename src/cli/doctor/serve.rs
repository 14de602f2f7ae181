//! `sidestream doctor --serve`.

use std::net::{Ipv4Addr, SocketAddr};

use sidestream::config::{DoctorToken, ListenAddress};
use sidestream::doctor::origin::OriginServer;
use sidestream::process::{self, StartError};

use crate::cli::error::CliError;
use crate::cli::logging::start_logging;
use crate::cli::run::runtime;
use crate::cli::terminal::print;

/// Is a probe origin until it is told to stop. `token`: a random one, if none is given.
pub fn start(address: &str, token: Option<&str>) -> Result<(), CliError> {
    let address = listen_address(address)?;
    let token = match token {
        Some(token) => given_token(token)?,
        None => DoctorToken::random().map_err(CliError::running)?,
    };
    start_logging("info");
    runtime()?.block_on(serve(address, token))
}

fn listen_address(text: &str) -> Result<SocketAddr, CliError> {
    text.parse().map_err(|_| {
        CliError::usage(format!(
            "--serve: `{text}` is not an address to listen on\n  write an IP address and a port, such as \
             `127.0.0.1:8000` or `[::]:8000`"
        ))
    })
}

fn given_token(text: &str) -> Result<DoctorToken, CliError> {
    text.parse()
        .map_err(|bad| CliError::usage(format!("--token: {bad}\n  leave it out to have a random one")))
}

async fn serve(address: SocketAddr, token: DoctorToken) -> Result<(), CliError> {
    // Heard from now on.
    let stop = process::told_to_stop();
    let server = OriginServer::bind(address, token.clone()).map_err(|error| {
        let address = ListenAddress::Tcp(address);
        CliError::running(StartError::Listen { key: "--serve".to_owned(), address, error })
    })?;
    let address = server.address().unwrap_or(address);
    // A closed standard output leaves an origin that still runs.
    print(&guide(address, &token)).unwrap_or_default();
    server.run(stop).await;
    Ok(())
}

fn guide(address: SocketAddr, token: &DoctorToken) -> String {
    let (mut here, token) = (address, token.as_str());
    if here.ip().is_unspecified() {
        here.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!(
        "A probe origin listens on {address}.\nIts token is {token}\n\nPut it where the backend is, and probe it through what \
         stands in front of it, from inside to outside:\n  sidestream doctor --token {token} http://{here}/\n\nCtrl-C ends it.\n"
    )
}
