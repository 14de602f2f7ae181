//! The command line: run, check, demo, doctor.

mod doctor;
mod error;
mod man;
mod run;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use sidestream::config;
use sidestream::demo::{Demo, DemoError};
use sidestream::process;

use doctor::Doctor;
use error::CliError;
use run::{Run, runtime, start_logging};
use terminal::{print, print_bytes};

const EXAMPLES: &str = "\
Examples:
  sidestream run --listen 0.0.0.0:8080 --upstream http://127.0.0.1:8000
  sidestream check --config /etc/sidestream/sidestream.yaml
  sidestream run --config /etc/sidestream/sidestream.yaml
  sidestream demo

Exit codes:
  0  ended as asked    1  failed while running    2  wrong command line or configuration

Environment:
  RUST_LOG  what is logged to standard error, such as `debug` or `info,sidestream::exchange=debug`
  NO_COLOR  set to anything: no colours";

/// Puts correct event streams in front of an LLM backend that you need not change.
///
/// Events pass unbuffered and whole, a client that leaves frees the backend, a backend that breaks becomes a typed
/// error event, silence carries heartbeats, and Prometheus learns the time to the first event.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy, from a configuration file or from flags alone
    Run(Run),
    /// Validate a configuration file and print the configuration that results from it
    Check {
        /// The file to check
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Find out which hop in front of a backend breaks streams
    Doctor(Doctor),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man {
        /// Where to
        folder: PathBuf,
    },
    /// Start a demo backend with sidestream in front of it, and print what to try
    Demo {
        /// Where sidestream listens
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: String,
        /// Where the live page and the metrics are
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
        admin: String,
    },
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Run(run) => run.start().map(done),
        Command::Check { config } => check(&config).map(done),
        Command::Doctor(doctor) => doctor.start(),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sidestream", &mut text);
            print_bytes(&text).map(done)
        }
        Command::Man { folder } => man::write(Cli::command(), &folder).map_err(CliError::running).map(done),
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
        // A closed standard output leaves a demo that still runs.
        demo.run(process::told_to_stop(), |text| print(text).unwrap_or_default()).await;
        Ok(())
    })
}
