//! Why the program ends.

use super::terminal::colours;

/// Something failed while running: a port in use, for one.
const FAILURE: u8 = 1;
/// The command line or the configuration is wrong; nothing was started. The same code that clap uses.
const USAGE: u8 = 2;

/// Why the program ends, and with which exit code.
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
