//! `sidestream run`.

use std::path::PathBuf;

use clap::Args;
use sidestream::config::{self, Config};
use sidestream::process;

use super::error::CliError;
use super::logging::start_logging;

/// The listen address without a configuration file.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

#[derive(Args)]
pub struct Run {
    /// The configuration file; conf/sidestream.yaml shows every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a file: an address to listen on (may be repeated) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Without a file: the backend, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Without a file: the address of the live page, /metrics and health checks, or `off` [default:
    /// 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl Run {
    fn config(&self) -> Result<Config, CliError> {
        let given = [
            (!self.listen.is_empty()).then_some("--listen"),
            self.upstream.is_some().then_some("--upstream"),
            self.admin.is_some().then_some("--admin"),
        ];
        match (&self.config, &self.upstream, given.into_iter().flatten().next()) {
            (Some(file), _, None) => config::load(file).map_err(CliError::usage),
            (None, Some(upstream), _) => {
                let default = [DEFAULT_LISTEN.to_owned()];
                let listen = if self.listen.is_empty() { &default } else { self.listen.as_slice() };
                config::from_flags(listen, &[upstream.as_str()], self.admin.as_deref())
                    .map_err(CliError::usage)
            }
            (Some(_), _, Some(flag)) => Err(CliError::usage(format!(
                "{flag} cannot be used with --config\n  set it in the file, or leave out --config"
            ))),
            (None, None, Some(flag)) => Err(CliError::usage(format!(
                "{flag} needs --upstream\n  add the backend, such as `--upstream http://127.0.0.1:8000`"
            ))),
            (None, None, None) => Err(CliError::usage(
                "nothing to run: neither --config nor --upstream is given\n  write `sidestream run --config FILE`, or \
                 `sidestream run --upstream http://127.0.0.1:8000`",
            )),
        }
    }

    /// Runs the proxy until a signal stops it.
    pub fn start(self) -> Result<(), CliError> {
        let config = self.config()?;
        start_logging(&config.server.log);
        let reread = self.config.map(|file| Box::new(move || config::load(&file)) as process::Reread);
        runtime()?.block_on(process::run(&config, reread)).map_err(CliError::running)
    }
}

/// A single-threaded runtime.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::running)
}
