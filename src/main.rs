//! The command line: run, check, demo.

mod cli {
    pub mod man;
}

use std::io::{ErrorKind, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use sidestream::config::{self, Config};
use sidestream::demo::{Demo, DemoError};
use sidestream::process;
use tracing_subscriber::EnvFilter;

/// Something failed while running: a port in use, for one.
const FAILURE: u8 = 1;
/// The command line or the configuration is wrong; nothing was started. The same code that clap uses.
const USAGE: u8 = 2;

/// pingora and h2 report peers that leave or are hostile: whoever fills a log that way shall not. What matters of it is in our own
/// messages and metrics.
const LIBRARIES_LOG: &str = "pingora_core=error,h2=error";

const EXAMPLES: &str = "\
Examples:
  sidestream run --listen 0.0.0.0:8080 --upstream http://127.0.0.1:8000
  sidestream check --config /etc/sidestream/sidestream.yaml
  sidestream run --config /etc/sidestream/sidestream.yaml
  sidestream demo

Exit codes:
  0  ended as asked    1  failed while running    2  wrong command line or configuration

Environment:
  RUST_LOG  what is logged to standard error, such as `debug` or `info,sidestream::proxy=debug`
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

/// Where `run` listens without a file.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

#[derive(Args)]
struct Run {
    /// The configuration file; conf/sidestream.yaml shows every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a file: where clients connect (may be repeated) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Without a file: the backend, such as http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Without a file: where the live page, /metrics and health checks are, or `off` [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl Run {
    fn config(&self) -> Result<Config, Failure> {
        let given = [
            (!self.listen.is_empty()).then_some("--listen"),
            self.upstream.is_some().then_some("--upstream"),
            self.admin.is_some().then_some("--admin"),
        ];
        match (&self.config, &self.upstream, given.into_iter().flatten().next()) {
            (Some(file), _, None) => config::load(file).map_err(Failure::usage),
            (None, Some(upstream), _) => {
                let default = [DEFAULT_LISTEN.to_owned()];
                let listen = if self.listen.is_empty() { &default } else { self.listen.as_slice() };
                config::from_flags(listen, upstream, self.admin.as_deref()).map_err(Failure::usage)
            }
            (Some(_), _, Some(flag)) => Err(Failure::usage(format!(
                "{flag} cannot be used with --config\n  write it into the file, or leave out --config"
            ))),
            (None, None, Some(flag)) => Err(Failure::usage(format!(
                "--upstream is missing beside {flag}\n  add the backend, such as `--upstream http://127.0.0.1:8000`"
            ))),
            (None, None, None) => Err(Failure::usage(
                "there is nothing to run\n  write `sidestream run --config FILE`, or \
                 `sidestream run --upstream http://127.0.0.1:8000`",
            )),
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.config().and_then(|config| serve(run, &config)),
        Command::Check { config } => check(&config),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sidestream", &mut text);
            print_bytes(&text)
        }
        Command::Man { folder } => cli::man::write(Cli::command(), &folder).map_err(Failure::running),
        Command::Demo { listen, admin } => demo(&listen, &admin),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}: {}", failure.label(), failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Why the program ends, and with which exit code.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn usage(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: USAGE }
    }

    fn running(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: FAILURE }
    }

    fn label(&self) -> &'static str {
        if colours() { "\x1b[1;31merror\x1b[0m" } else { "error" }
    }
}

/// Whether standard error is a terminal that may be coloured (no-color.org).
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn check(file: &std::path::Path) -> Result<(), Failure> {
    let config = config::load(file).map_err(Failure::usage)?;
    print(&config::effective_yaml(&config))?;
    eprintln!("{}: the configuration is valid", file.display());
    Ok(())
}

fn serve(run: Run, config: &Config) -> Result<(), Failure> {
    start_logging(&config.server.log);
    let reread = run.config.map(|file| Box::new(move || config::load(&file)) as process::Reread);
    runtime(config.server.threads)?.block_on(process::run(config, reread)).map_err(Failure::running)
}

fn demo(listen: &str, admin: &str) -> Result<(), Failure> {
    start_logging("info");
    runtime(None)?.block_on(async {
        let demo = Demo::bind(listen, admin).await.map_err(|error| match error {
            DemoError::Address(_) => Failure::usage(error),
            DemoError::Start(_) | DemoError::Model(_) => Failure::running(error),
        })?;
        // A closed standard output leaves a demo that still runs.
        demo.run(process::told_to_stop(), |text| print(text).unwrap_or_default()).await;
        Ok(())
    })
}

fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints to standard output; a reader that has seen enough, such as `head`, is no failure.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::running(error)),
        _ => Ok(()),
    }
}

/// `threads`: worker threads; `None` is one per core.
fn runtime(threads: Option<NonZeroUsize>) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    match threads.map(NonZeroUsize::get) {
        // Nobody to share work with: no locks, and no second thread.
        Some(1) => builder = tokio::runtime::Builder::new_current_thread(),
        Some(threads) => {
            builder.worker_threads(threads);
        }
        None => {}
    }
    builder.enable_all().build().map_err(Failure::running)
}

/// `filter` holds unless `RUST_LOG` says something else.
fn start_logging(filter: &str) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{LIBRARIES_LOG},{filter}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours())
        .with_writer(std::io::stderr)
        .init();
}
