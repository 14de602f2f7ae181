//! The opening scene of the demo: a client requests the model `dies`, and what it receives is printed as it
//! arrives.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::model::Manner;

/// Plays the scene. An error is printed, and the demo continues.
pub async fn play(address: SocketAddr, say: &impl Fn(&str)) {
    say(&format!(
        "A client streams from the model `{}` through sidestream. It receives:\n\n",
        Manner::Dies.model()
    ));
    if let Err(error) = stream(address, say).await {
        say(&format!("  cannot reach {address}: {error}\n"));
    }
    say(
        "\nsidestream dropped the partial event and sent a typed error event. Without it,\nthe truncated answer would have looked complete.\n\n",
    );
}

async fn stream(address: SocketAddr, say: &impl Fn(&str)) -> std::io::Result<()> {
    let started = Instant::now();
    let body = format!(r#"{{"model":"{}","stream":true}}"#, Manner::Dies.model());
    // HTTP/1.0, so that the body is not chunked.
    let request =
        format!("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut client = TcpStream::connect(address).await?;
    client.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(client).lines();
    // The head ends with an empty line.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    while let Some(line) = lines.next_line().await? {
        if !line.is_empty() {
            say(&format!("  {:>5.2} s  {}\n", started.elapsed().as_secs_f64(), abridged(&line)));
        }
    }
    Ok(())
}

/// Shortens a chunk of the answer to its delta, and an error to its code.
fn abridged(line: &str) -> String {
    let data: Value =
        line.strip_prefix("data: ").and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    match (&data["choices"][0]["delta"], &data["code"]) {
        (Value::Null, Value::Null) => line.to_owned(),
        (Value::Null, code) => format!("data: {{… \"code\":{code} …}}"),
        (delta, _) => format!("data: {{… \"delta\":{delta} …}}"),
    }
}
