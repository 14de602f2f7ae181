//! The binary: a command line for the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
