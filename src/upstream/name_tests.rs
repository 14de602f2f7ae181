//! Names with several addresses, over real sockets and scripted look-ups.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::balance::Needs;
use super::connection::{BodyProgress, Connection};
use super::connector::Connector;
use super::error::ConnectError;
use super::resolve::{Lookup, Name};
use super::server::Use;
use super::servers::{Placement, Upstream};
use super::slot::Slot;
use crate::config::{self, MetricsPolicy};
use crate::http1::RequestHead;
use crate::net::Workers;
use crate::telemetry::LiveStreams;
use crate::telemetry::metrics::Metrics;

/// Limit for a condition that normally takes milliseconds.
const GENEROUS: Duration = Duration::from_secs(20);

/// An upstream before `two.test`, which has two addresses.
struct Two {
    upstream: Arc<Upstream>,
    addresses: [SocketAddr; 2],
    lookups: watch::Sender<Lookup>,
    _name: Arc<Name>,
}

impl Two {
    /// Also returns a socket for each address. Until it listens, it refuses connections.
    fn new(scheme: &str, keys: &str) -> (Self, [TcpSocket; 2]) {
        let (sockets, addresses) = two_sockets();
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [{{ url: '{scheme}://two.test:{}'{keys} }}], \
             keepalive_idle: 1h }} }}\n",
            addresses[0].port()
        );
        let config = config::parse(&yaml, "test.yaml").expect("a valid configuration").upstreams[0].clone();
        let connector = Arc::new(Connector::new(None, &Workers::default()));
        let interval = config.servers[0].resolve;
        let (name, lookups) = connector.resolver.scripted("two.test", interval, &addresses);
        let metrics = Arc::new(Metrics::new(&MetricsPolicy::default()).expect("metrics"));
        let upstream = Upstream::new(config, connector, metrics, Arc::<LiveStreams>::default());
        (Self { upstream, addresses, lookups, _name: name }, sockets)
    }

    fn slot(&self) -> Slot {
        match self.upstream.admit(&Needs::default(), false, Instant::now()) {
            Placement::Slot(slot) => slot,
            Placement::Queued(_) | Placement::Refused(_) => panic!("a server is up"),
        }
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        self.slot().server().open(Use::Exchange, false).await
    }

    /// Runs one exchange, after which its connection is idle.
    async fn exchange(&self) {
        let slot = self.slot();
        let server = slot.server().clone();
        let mut connection = match server.pooled(Use::Exchange).await {
            Some(connection) => connection,
            None => server.open(Use::Exchange, false).await.expect("a connection"),
        };
        connection.hold(slot);
        let mut request = RequestHead::get("/");
        request.fields.append("Host", "two.test");
        connection.write_head(&request, false).await.map_err(|error| error.fault).expect("a backend");
        let head = connection.read_head().await.map_err(|error| error.fault).expect("an answer");
        assert_eq!(head.status, 200);
        let end = async {
            while std::future::poll_fn(|cx| connection.poll_read_body(cx, &mut |_| ())).await
                != Ok(BodyProgress::End)
            {}
        };
        timeout(GENEROUS, end).await.expect("an end");
        connection.give_back();
    }

    /// Lets the next look-up find only these addresses.
    fn finds(&self, addresses: &[SocketAddr]) {
        self.lookups.send_modify(|lookup| lookup.addresses = addresses.into());
    }
}

/// Two addresses with the same port.
fn two_sockets() -> ([TcpSocket; 2], [SocketAddr; 2]) {
    let bound = |host: u8, port: u16| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::new(127, 0, 0, host), port).into()).map(|()| socket)
    };
    loop {
        let first = bound(1, 0).expect("a port");
        let address = first.local_addr().expect("an address");
        // Something else may have the port at the other address.
        if let Ok(second) = bound(2, address.port()) {
            let other = second.local_addr().expect("an address");
            return ([first, second], [address, other]);
        }
    }
}

/// Answers every request. Reports each connection when it begins and when it ends.
fn serve(socket: TcpSocket, is_http2: bool) -> mpsc::UnboundedReceiver<&'static str> {
    let listener = socket.listen(64).expect("a listener");
    let (say, said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let say = say.clone();
            tokio::spawn(async move {
                let _ = say.send("opened");
                if is_http2 {
                    answer_http2(tcp).await
                } else {
                    answer_http1(tcp).await
                }
                let _ = say.send("closed");
            });
        }
    });
    said
}

async fn answer_http1(mut tcp: tokio::net::TcpStream) {
    let mut seen = Vec::new();
    while let Ok(1..) = tcp.read_buf(&mut seen).await {
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    }
}

async fn answer_http2(tcp: tokio::net::TcpStream) {
    let mut connection = h2::server::handshake(tcp).await.expect("a handshake");
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        respond.send_response(http::Response::new(()), true).expect("a stream");
    }
}

async fn next(said: &mut mpsc::UnboundedReceiver<&'static str>) -> &'static str {
    timeout(GENEROUS, said.recv()).await.expect("in time").expect("a server")
}

#[tokio::test]
async fn the_address_that_answered_is_tried_first_from_then_on() {
    let (two, [first, second]) = Two::new("http", "");
    let accepted = async |listener: &TcpListener| timeout(GENEROUS, listener.accept()).await.is_ok();
    let second = second.listen(64).expect("a listener");
    two.open().await.expect("the second address answers");
    assert!(accepted(&second).await);
    let _first = first.listen(64).expect("a listener");
    two.open().await.expect("both answer");
    assert!(accepted(&second).await);
}

#[tokio::test]
async fn every_address_is_named_if_none_answers() {
    let (two, _sockets) = Two::new("http", "");
    let Err(error) = two.open().await else { panic!("nothing listens") };
    let message = error.to_string();
    for address in two.addresses {
        assert!(message.contains(&format!("{address}: Connection refused")), "{message}");
    }
}

#[tokio::test]
async fn idle_connections_to_an_address_that_is_gone_are_closed() {
    for keys in ["", ", resolve: 1h"] {
        for scheme in ["http", "h2"] {
            let (two, sockets) = Two::new(scheme, keys);
            let [mut first, mut second] = sockets.map(|socket| serve(socket, scheme == "h2"));
            two.finds(&two.addresses[..1]);
            // With `resolve`, each address is a server.
            while two.upstream.look(|group, _| group.members().len()) > 1 {
                tokio::task::yield_now().await;
            }
            for _ in 0..2 {
                two.exchange().await;
            }
            assert_eq!(next(&mut first).await, "opened", "{scheme}{keys}");
            two.finds(&two.addresses[1..]);
            assert_eq!(next(&mut first).await, "closed", "{scheme}{keys}");
            two.exchange().await;
            assert_eq!(next(&mut second).await, "opened", "{scheme}{keys}");
        }
    }
}
