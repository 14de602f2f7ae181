//! The smallest proxy that pingora-proxy makes: what a relay costs that does nothing of its own.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

/// The first argument that makes this program that proxy: `pass-through LISTEN BACKEND`.
pub const ROLE: &str = "pass-through";

struct PassThrough(SocketAddr);

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Runs as that proxy, without end.
pub fn run(listen: &str, backend: &str) -> ! {
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let backend = PassThrough(backend.parse().expect("an address"));
    let mut service = http_proxy_service(&server.configuration, backend);
    service.add_tcp(listen);
    server.add_service(service);
    server.bootstrap();
    server.run_forever()
}
