//! The background clients of the demo, which keep the live page busy.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep};

use super::model::Manner;

/// The interval between two clients.
const PACE: Duration = Duration::from_millis(350);
/// How long a client that disconnects stays.
const PATIENCE: Duration = Duration::from_millis(1600);

/// Marks requests of background clients, which the model does not log.
pub const FIELD: &str = "X-Demo-Crowd";

/// The models that the clients request in turn, and whether they stay to the end.
const CROWD: [(Manner, bool); 12] = [
    (Manner::WellBehaved, true),
    (Manner::Tears, true),
    (Manner::WellBehaved, false),
    (Manner::WellBehaved, true),
    (Manner::Dies, true),
    (Manner::WellBehaved, true),
    (Manner::Buffers, true),
    (Manner::WellBehaved, true),
    (Manner::Stalls, true),
    (Manner::WellBehaved, false),
    (Manner::StopsShort, true),
    (Manner::WellBehaved, true),
];

/// Runs the background clients until it is dropped.
pub async fn play(address: SocketAddr) {
    let mut ticks = interval(PACE);
    for (manner, stays) in CROWD.into_iter().cycle() {
        ticks.tick().await;
        tokio::spawn(async move {
            let reading = read(address, manner);
            if stays {
                // Fails when the demo ends.
                let _ = reading.await;
            } else {
                tokio::select! {
                    _ = reading => {}
                    () = sleep(PATIENCE) => {}
                }
            }
        });
    }
}

async fn read(address: SocketAddr, manner: Manner) -> std::io::Result<()> {
    let body = format!(r#"{{"model":"{}","stream":true}}"#, manner.model());
    let mut client = TcpStream::connect(address).await?;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n{FIELD}: yes\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await?;
    let mut buffer = [0; 4096];
    while client.read(&mut buffer).await? > 0 {}
    Ok(())
}
