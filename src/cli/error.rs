//! Errors of the command line, with their exit codes.

use super::terminal::colours;

/// The exit code of a failure at run time, such as a port in use.
const FAILURE: u8 = 1;
/// The exit code of a wrong command line or configuration; nothing was started. clap uses the same code.
const USAGE: u8 = 2;

/// An error that ends the program, with its exit code.
pub struct CliError {
    pub message: String,
    pub code: u8,
}

impl CliError {
    pub fn usage(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: USAGE }
    }

    pub fn running(error: impl ToString) -> Self {
        Self { message: error.to_string(), code: FAILURE }
    }

    pub fn label(&self) -> &'static str {
        if colours() { "\x1b[1;31merror\x1b[0m" } else { "error" }
    }
}
