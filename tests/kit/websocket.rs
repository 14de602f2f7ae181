use super::Backend;

/// Asks for a WebSocket.
pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Grants it.
pub const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

impl Backend {
    /// A backend of WebSockets that sends back whatever comes.
    pub async fn that_echoes() -> Self {
        Self::script(|mut exchange| async move {
            if exchange.request().await.is_some() {
                exchange.send(SWITCHING).await;
                exchange.echo().await;
            }
        })
        .await
    }
}
