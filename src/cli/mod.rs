//! The command line: run, check, schema, health, demo, doctor.

mod doctor;
#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod documents_tests;
mod error;
mod health;
mod logging;
mod man;
mod run;
mod terminal;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use sidestream::config;
use sidestream::demo::{Demo, DemoError};
use sidestream::process;

use doctor::Doctor;
use error::CliError;
use health::Health;
use logging::start_logging;
use run::{Run, runtime};
use terminal::{print, print_bytes};

const EXAMPLES: &str = "\
Examples:
  sidestream run --listen 0.0.0.0:8080 --upstream http://127.0.0.1:8000
  sidestream check --config /etc/sidestream/sidestream.yaml
  sidestream run --config /etc/sidestream/sidestream.yaml
  sidestream schema > sidestream.schema.json
  sidestream demo

Exit codes:
  0  success    1  failed while running    2  wrong command line or configuration

Environment:
  RUST_LOG  log filter for standard error, such as `debug` or `info,sidestream::exchange=debug`
  NO_COLOR  any value disables colours";

/// A streaming reverse proxy for LLM backends; neither the backend nor its clients need changes.
///
/// Events pass unbuffered and whole. When a client disconnects, the backend is cancelled. When a backend
/// breaks, the client gets a typed error event. Heartbeats keep silent streams open, and Prometheus metrics
/// show the time to first event.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy, with a configuration file or with flags only
    Run(Run),
    /// Validate a configuration file and print the effective configuration
    Check {
        /// The file to check
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Ask a running process whether it is healthy, for containers without a shell
    Health(Health),
    /// Find the hop between client and backend that breaks streams
    Doctor(Doctor),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, for packaging
    #[command(hide = true)]
    Man {
        /// The folder to write to
        folder: PathBuf,
    },
    /// Start the successor of an upgrade and end, so that the service manager becomes its parent
    #[command(hide = true)]
    Successor {
        /// The command line of the successor
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Start a demo: backends with sidestream in front of them, and commands to try
    Demo {
        /// The address where sidestream listens
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: String,
        /// The address of the live page and the metrics
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
        admin: String,
    },
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Run(run) => run.start().map(done),
        Command::Check { config } => check(&config).map(done),
        Command::Schema => print(&config::json_schema()).map(done),
        Command::Health(health) => health.check().map(done),
        Command::Doctor(doctor) => doctor.start(),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sidestream", &mut text);
            print_bytes(&text).map(done)
        }
        Command::Man { folder } => man::write(Cli::command(), &folder).map_err(CliError::running).map(done),
        Command::Successor { arguments } => {
            process::start_successor(&arguments).map_err(CliError::running).map(done)
        }
        Command::Demo { listen, admin } => demo(&listen, &admin).map(done),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{}: {}", failure.label(), failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn check(file: &Path) -> Result<(), CliError> {
    let config = config::load(file).map_err(CliError::usage)?;
    print(&config::effective_yaml(&config))?;
    eprintln!("{}: the configuration is valid", file.display());
    Ok(())
}

fn demo(listen: &str, admin: &str) -> Result<(), CliError> {
    start_logging("info");
    runtime()?.block_on(async {
        let demo = Demo::bind(listen, admin).await.map_err(|error| match error {
            DemoError::Address(_) => CliError::usage(error),
            DemoError::Start(_) | DemoError::Model(_) => CliError::running(error),
        })?;
        // If standard output is closed, the demo runs on.
        demo.run(process::told_to_stop(), |text| print(text).unwrap_or_default()).await;
        Ok(())
    })
}
