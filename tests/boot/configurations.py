"""The service's configuration, and the ways through it."""

from pathlib import Path

from peers import curl

UPSTREAMS = {
    "plain": "http://backend.example:8000",
    "tls": "https://backend.example:8001",
    "h2": "h2://backend.example:8002",
    "h2s": "h2s://backend.example:8001",
    "unix": "unix:/srv/share/relay.sock",
}
CLIENTS = ("HTTP/1.1", "HTTP/2", "TLS", "HTTP/2 over TLS", "unix socket")
COMBINATIONS = f"{len(CLIENTS) * len(UPSTREAMS)} ways: {', '.join(CLIENTS)} to {', '.join(UPSTREAMS.values())}"


def everything(added: str = "") -> str:
    """Each protocol on each side. `added`: one more path that is served."""
    lines = [
        "listeners:",
        "  - address: 127.0.0.1:8080",
        "  - address: 127.0.0.1:8443",
        "    tls: {certificate: /etc/sidestream/cert.pem, key: /etc/sidestream/key.pem}",
        "  - address: unix:/run/sidestream/http.sock",
        "admin: {address: 127.0.0.1:9090}",
        "access_log: {path: /var/log/sidestream/access.log}",
        "upstreams:",
    ]
    for name, server in UPSTREAMS.items():
        tls = ", tls: {ca: /etc/sidestream/cert.pem}" if server.startswith(("https:", "h2s:")) else ""
        lines.append(f'  {name}: {{servers: ["{server}"]{tls}}}')
    lines.append("routes:")
    for name in UPSTREAMS:
        lines.append(f"  - {{match: {{path: /{name}/}}, upstream: {name}}}")
    if added:
        lines.append(f"  - {{match: {{path: {added}}}, upstream: plain}}")
    return "\n".join(lines) + "\n"


def wrong_combinations(share: Path, socket: Path) -> list[str]:
    """What goes wrong on which way."""
    certificate = ("--cacert", str(share / "cert.pem"))
    ways = {
        "HTTP/1.1": ("http://127.0.0.1:8080", "--http1.1"),
        "HTTP/2": ("http://127.0.0.1:8080", "--http2-prior-knowledge"),
        "TLS": ("https://127.0.0.1:8443", "--http1.1", *certificate),
        "HTTP/2 over TLS": ("https://127.0.0.1:8443", "--http2", *certificate),
        "unix socket": ("http://localhost", "--unix-socket", str(socket)),
    }
    wrong = []
    for client in CLIENTS:
        origin, *options = ways[client]
        for upstream in UPSTREAMS:
            if told := curl(f"{origin}/{upstream}/", *options):
                wrong.append(f"{client} to {upstream}: {told}")
    return wrong
