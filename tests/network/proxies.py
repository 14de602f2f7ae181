"""The proxies that are compared, each as its users set it up for event streams (the files in configs/)."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from namespaces import Namespace
from programs import Program

HERE = Path(__file__).parent
PORT, ADMIN_PORT = 8080, 9090


@dataclass(frozen=True)
class Setup:
    """What a case wants of the proxy in front of its backend."""

    server: str
    http2: bool = False
    # None: the proxy's own default for streams.
    first_event_timeout: str | None = None
    hosts: str | None = None


@dataclass(frozen=True)
class Proxy:
    name: str
    file: str
    program: str
    arguments: tuple[str, ...]
    # What the file has in its places, by default and for HTTP/2 to the backend; no second dictionary: it cannot speak it.
    values: dict[str, str]
    http2_values: dict[str, str] | None = None
    long: str = "1h"
    has_readiness: bool = False
    # Without TLS, on the port of HTTP/1.1.
    takes_http2: bool = False

    def start(self, namespace: Namespace, setup: Setup) -> Program:
        text = (HERE / "configs" / self.file).read_text()
        values = {
            **self.values,
            **(self.http2_values or {} if setup.http2 else {}),
            "SERVER": setup.server,
            "FIRST_EVENT_TIMEOUT": setup.first_event_timeout or self.long,
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        etc = {"hosts": setup.hosts, "nsswitch.conf": "hosts: files\n"} if setup.hosts else {}
        return Program(namespace, [self.program, *self.arguments], {self.file: text}, etc)


@dataclass(frozen=True)
class Keys:
    """What is set for peers that vanish."""

    write_timeout: str = "30s"
    tcp_keepalive: str = "15s"


QUICK_KEYS = Keys("5s", "1s")


def sidestream(binary: str, keys: Keys) -> Proxy:
    return Proxy(
        name="sidestream",
        file="sidestream.yaml",
        program=str(Path(binary).absolute()),
        arguments=("run", "--config", "FOLDER/sidestream.yaml"),
        values={"WRITE_TIMEOUT": keys.write_timeout, "KEEPALIVE": f", tcp_keepalive: {keys.tcp_keepalive}", "SCHEME": "http"},
        http2_values={"SCHEME": "h2"},
        long="10m",
        has_readiness=True,
        takes_http2=True,
    )


def peers(keys: Keys) -> list[Proxy]:
    """Those that are installed; the environment names programs that are not on the path, such as CADDY."""
    all_peers = [
        Proxy("nginx", "nginx.conf", "nginx", ("-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/nginx.conf"), {}),
        _haproxy("HAProxy", "haproxy.cfg", {}),
        _haproxy(
            "HAProxy with keepalive",
            "haproxy-keepalive.cfg",
            {"WRITE_TIMEOUT": keys.write_timeout, "TCP_KEEPALIVE": keys.tcp_keepalive},
        ),
        Proxy(
            "Caddy",
            "Caddyfile",
            "caddy",
            ("run", "--adapter", "caddyfile", "--config", "FOLDER/Caddyfile"),
            {"VERSIONS": "1.1"},
            {"VERSIONS": "h2c"},
        ),
    ]
    found = []
    for peer in all_peers:
        named = os.environ.get(peer.program.upper(), peer.program)
        # Debian has servers there, and it is not on everybody's path.
        program = shutil.which(named, path=f"{os.environ['PATH']}:/usr/sbin")
        if program:
            found.append(replace(peer, program=program))
    return found


def _haproxy(name: str, file: str, values: dict[str, str]) -> Proxy:
    return Proxy(
        name=name,
        file=file,
        program="haproxy",
        arguments=("-db", "-f", f"FOLDER/{file}"),
        values={"PROTO": "", **values},
        http2_values={"PROTO": " proto h2"},
        takes_http2=True,
    )
