"""One host with a DNS server, two backends, and a sidestream that knows them by a name only."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from backend import Backend
from backend_http2 import Http2Backend
from client import Exchange, listens, request
from namespaces import Namespace
from programs import Program
from scripted_dns import DnsServer

NAME = "backend.test"
LISTENER, DNS, OLD, NEW = "127.0.0.1", "127.0.0.53", "127.0.0.2", "127.0.0.3"
PORT, DNS_PORT, BACKEND_PORT = 8080, 53, 8000
START = 30.0
ETC = {"resolv.conf": f"nameserver {DNS}\n", "nsswitch.conf": "hosts: files dns\n", "hosts": "127.0.0.1 localhost\n"}
FILE, LOG = "sidestream.yaml", "access.log"
CONFIGURATION = """
listeners: [{{ address: '127.0.0.1:8080' }}]
admin: off
access_log: {{ path: FOLDER/access.log }}
upstreams:
  named: {{ servers: [{named}] }}
  fixed: {{ servers: ['http://{fixed}:8000'] }}
routes:
  - {{ match: {{ path: /fixed }}, upstream: fixed }}
  - {{ match: {{}}, upstream: named }}
"""


@dataclass(frozen=True)
class Options:
    binary: str
    # `resolve` of the server; None: its default.
    interval: str | None
    # How long a name may take to be followed, and requests are sent.
    followed_in: float
    requests_for: float
    # Of requests that need no look-up.
    soon: float
    # By how much signals may be slower, on a machine that does much else.
    patience: float


@dataclass(frozen=True)
class Seen:
    """What was measured, in the unit of the case's limit, and what else there is to tell."""

    measured: float | None
    told: str = ""
    is_right: bool = True


@dataclass
class DnsStage:
    options: Options
    http2: bool = False
    host: Namespace = field(default_factory=Namespace)
    dns: DnsServer = field(default_factory=lambda: DnsServer({NAME: [OLD]}))
    old: Backend = field(init=False)
    new: Backend = field(init=False)
    program: Program | None = None

    def __post_init__(self) -> None:
        kind = Http2Backend if self.http2 else Backend
        self.old, self.new = kind("old"), kind("new")

    async def serve(self) -> None:
        await self.dns.listen(self.host.datagram_socket(DNS, DNS_PORT))
        await self.old.listen(self.host.listener(OLD, BACKEND_PORT))
        await self.new.listen(self.host.listener(NEW, BACKEND_PORT))

    def configuration(self, fixed: str = OLD, name: str = NAME) -> str:
        url = f"{'h2' if self.http2 else 'http'}://{name}:{BACKEND_PORT}"
        interval = self.options.interval
        named = f"{{ url: '{url}', resolve: {interval} }}" if interval else f"'{url}'"
        return CONFIGURATION.format(named=named, fixed=fixed)

    async def start(self) -> float:
        """Starts sidestream; how long it took until it listened."""
        began = time.monotonic()
        command = [self.options.binary, "run", "--config", f"FOLDER/{FILE}"]
        self.program = Program(self.host, command, {FILE: self.configuration()}, ETC)
        while not await listens(self.host, LISTENER, PORT):
            if not self.program.is_running() or time.monotonic() - began > START:
                raise RuntimeError(f"sidestream did not start:\n{self.program.output()}")
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    @property
    def running(self) -> Program:
        assert self.program, "it was started"
        return self.program

    async def send(self, path: str = "/") -> Exchange:
        return await request(self.host, LISTENER, PORT, path, "Connection: close\r\n")

    async def logged(self) -> dict[str, Any]:
        """The first line of the access log."""
        log = self.running.folder / LOG
        while not log.exists() or "\n" not in log.read_text():
            await asyncio.sleep(0.01)
        line: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
        return line

    async def is_asked(self) -> None:
        """Waits until a look-up has reached the DNS server."""
        before = self.dns.queries.total()
        while self.dns.queries.total() == before:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        if self.program:
            self.program.close()
        self.dns.close()
        await self.old.close()
        await self.new.close()
        self.host.close()


@dataclass(frozen=True)
class DnsCase:
    name: str
    run: Callable[[DnsStage], Awaitable[Seen]]
    # What `run` measures must not be more.
    limit: Callable[[Options], float]
    unit: str = "s"
    http2: bool = False

    async def measure(self, options: Options, time_box: float) -> Seen:
        stage = DnsStage(options, self.http2)
        try:
            await stage.serve()
            return await asyncio.wait_for(self.run(stage), time_box)
        except TimeoutError:
            return Seen(None, f"not in {time_box:.0f} s")
        finally:
            await stage.close()
