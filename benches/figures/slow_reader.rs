//! A client that reads 10 KB/s from a backend that sends as fast as it can: the cost for the proxy, and the
//! effect on other streams.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backend::{Backend, SATURATED};
use crate::client::Client;
use crate::proxy::Proxy;
use crate::steady::{self, STREAMS};

const WATCHED: Duration = Duration::from_secs(20);

pub async fn measure() {
    let backend = Backend::start().await;
    let proxy = Proxy::sidestream(backend.address, "");
    println!(
        "\n## A client that reads 10 KB/s from a backend that pushes without end, beside {STREAMS} steady streams\n"
    );
    steady::print_head();
    steady::report("without the slow reader", &steady::gaps(proxy.address, WATCHED).await);
    let before = proxy.memory();
    let slow = read_slowly(proxy.address);
    let others = tokio::spawn(steady::gaps(proxy.address, WATCHED));
    let mut most = before;
    while !others.is_finished() {
        sleep(Duration::from_millis(100)).await;
        most = most.max(proxy.memory());
    }
    steady::report("with the slow reader", &others.await.expect("gaps"));
    slow.abort();
    let growth = most.saturating_sub(before) / 1024;
    println!(
        "\nMemory of the process: {} KiB before, at most {growth} KiB more with the slow reader.",
        before / 1024
    );
}

/// Reads 1 KB every 100 ms.
fn read_slowly(address: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = Client::get_with_window(address, SATURATED, 16 * 1024).await;
        loop {
            client.read_at_most(1000).await;
            sleep(Duration::from_millis(100)).await;
        }
    })
}
