//! `sidestream doctor`.

mod flags;
mod interrupt;
mod probe;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sidestream::doctor::probe::Override;

use super::error::CliError;

const EXAMPLES: &str = "\
Examples:
  sidestream doctor --serve 0.0.0.0:8000         where the backend is; prints a token
  sidestream doctor --token TOKEN app=http://10.0.0.5:8000 edge=https://chat.example.com
  sidestream doctor --token TOKEN --idle 10m https://chat.example.com/v1/chat/completions
  sidestream doctor https://chat.example.com/v1/chat/completions -d '{\"model\":\"m\",\"stream\":true}'

Exit codes:
  0  nothing found, and real answers came whole and as streams    1  no point was reached    2  wrong command line
  3  warnings or errors found, or a real answer that is not good    130, 143  interrupted by SIGINT, SIGTERM; a second one ends it at once";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Where to look, from inside to outside: each a URL, which may be given a name
    #[arg(value_name = "[NAME=]URL")]
    points: Vec<String>,
    /// Be a probe origin at this address, in the place of the backend
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["points", "data", "idle", "json", "header", "resolve"])]
    serve: Option<String>,
    /// What the probe origin has printed; with --serve, its secret, of at least 16 characters [default: a random one]
    #[arg(long, value_name = "TOKEN", env = "SIDESTREAM_DOCTOR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Watch a real answer instead: POST this body, or that of `@FILE`
    #[arg(short = 'd', long, value_name = "BODY", conflicts_with = "token")]
    data: Option<String>,
    /// A field of every request, such as `Authorization: Bearer …` (may be repeated)
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = flags::field)]
    header: Vec<(String, String)>,
    /// Where a host is, whatever DNS says (may be repeated)
    #[arg(long, value_name = "HOST:PORT:ADDRESS", value_parser = flags::resolve)]
    resolve: Vec<Override>,
    /// Take every certificate
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Speak HTTP/1.1 alone
    #[arg(long, conflicts_with = "http2")]
    http1: bool,
    /// Speak HTTP/2 alone; to http:// URLs by prior knowledge
    #[arg(long)]
    http2: bool,
    /// Make the tests that take less than 20 s, which is the default
    #[arg(long, conflicts_with = "idle")]
    quick: bool,
    /// Watch silent streams too, for so long, such as `10m`: which limits of time cut them
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    idle: Option<Duration>,
    /// Print everything as one JSON object, and the line of each test to standard error
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Does what was asked for; the exit code tells whether something was found.
    pub fn start(self) -> Result<ExitCode, CliError> {
        match &self.serve {
            Some(address) => serve::start(address, self.token.as_deref()).map(|()| ExitCode::SUCCESS),
            None => probe::start(&self),
        }
    }
}
