use std::path::Path;

use serde_json::Value;

use super::Within;

/// Waits for so many lines of an access log, and reads them.
pub async fn log_lines(log: &Path, count: usize) -> Vec<Value> {
    let wait = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            if lines.len() >= count && text.ends_with('\n') {
                return lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    wait.soon().await
}
