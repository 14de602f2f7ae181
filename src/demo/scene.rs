//! The demo's opening scene: a client asks a model that dies, and what reaches it is printed as it arrives.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::model::Manner;

/// Plays it. A demo that cannot reach itself is told so, and goes on.
pub async fn play(address: SocketAddr, say: &impl Fn(&str)) {
    say(&format!(
        "A client streams from the model `{}` through sidestream. It receives:\n\n",
        Manner::Dies.model()
    ));
    if let Err(error) = stream(address, say).await {
        say(&format!("  cannot reach {address}: {error}\n"));
    }
    say(
        "\nThe half event is gone, and a typed error stands where a silent end would have\nlooked like the answer.\n\n",
    );
}

async fn stream(address: SocketAddr, say: &impl Fn(&str)) -> std::io::Result<()> {
    let started = Instant::now();
    let body = format!(r#"{{"model":"{}","stream":true}}"#, Manner::Dies.model());
    // HTTP/1.0, so that the body comes without chunks around it.
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

/// Leaves only the delta of a chunk of the answer, and the code of an error.
fn abridged(line: &str) -> String {
    let data: Value =
        line.strip_prefix("data: ").and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    match (&data["choices"][0]["delta"], &data["code"]) {
        (Value::Null, Value::Null) => line.to_owned(),
        (Value::Null, code) => format!("data: {{… \"code\":{code} …}}"),
        (delta, _) => format!("data: {{… \"delta\":{delta} …}}"),
    }
}
