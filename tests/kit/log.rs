//! Reads access logs.

use std::path::Path;

use serde_json::Value;

use super::{Within, until};

/// Waits until the access log has `count` lines, and parses them.
pub async fn log_lines(log: &Path, count: usize) -> Vec<Value> {
    let look = async || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let is_there = text.lines().count() >= count && text.ends_with('\n');
        is_there.then(|| text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    };
    until(look).soon().await
}
