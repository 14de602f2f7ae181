"""One case on its stage: three hosts, a proxy on the middle one, a backend, and what is measured."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backend import Backend
from backend_http2 import Http2Backend
from client import Exchange, listens, request, request_over_http2
from network import BACKEND, OTHER_BACKEND, PROXY_TO_CLIENT, Network
from programs import Program
from proxies import PORT, Proxy, Setup

BACKEND_PORT = 8000
START = 30.0


@dataclass(frozen=True)
class Measured:
    """Seconds, `None` where the time of a case did not suffice, and what it was that came."""

    seconds: float | None
    came: str = ""
    is_right: bool = True


@dataclass
class Stage:
    network: Network
    backend: Backend
    program: Program
    # When what is measured began.
    began: float | None = None

    async def request(self, path: str, port: int = PORT, over_http2: bool = False) -> Exchange:
        if over_http2:
            return await request_over_http2(self.network.client, PROXY_TO_CLIENT, port, path)
        return await request(self.network.client, PROXY_TO_CLIENT, port, path)

    def begin(self) -> float:
        self.began = time.monotonic()
        return self.began

    @staticmethod
    def seconds_since(began: float, came: float | None) -> float:
        """An end of the connection, which has no time of its own, came just now."""
        return (came or time.monotonic()) - began

    async def is_ready(self) -> None:
        end = time.monotonic() + START
        while not await listens(self.network.client, PROXY_TO_CLIENT, PORT):
            if not self.program.is_running() or time.monotonic() > end:
                raise RuntimeError(f"the proxy did not start:\n{self.program.output()}")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self.program.close()
        await self.backend.close()
        self.network.__exit__()


@dataclass(frozen=True)
class Case:
    name: str
    setup: Setup
    run: Callable[[Stage], Awaitable[Measured]]
    # Seconds within which sidestream must do it, with its defaults and with short keys.
    limit: float
    quick_limit: float
    # The backend listens only on 127.0.0.1 of the proxy's host.
    is_local: bool = False
    # Asks for what only sidestream has.
    is_readiness: bool = False
    is_http2_client: bool = False

    def is_for(self, proxy: Proxy) -> bool:
        speaks = not self.setup.http2 or proxy.http2_values is not None
        takes = not self.is_http2_client or proxy.takes_http2
        return speaks and takes and (proxy.has_readiness or not self.is_readiness)

    async def stage(self, proxy: Proxy) -> Stage:
        network = Network()
        backend = Http2Backend() if self.setup.http2 else Backend()
        if self.is_local:
            await backend.listen(network.proxy.listener("127.0.0.1", BACKEND_PORT))
        else:
            await backend.listen(*(network.backend.listener(a, BACKEND_PORT) for a in (BACKEND, OTHER_BACKEND)))
        return Stage(network, backend, proxy.start(network.proxy, self.setup))

    async def measure(self, stage: Stage, time_box: float) -> Measured:
        try:
            return await asyncio.wait_for(self.run(stage), time_box)
        except TimeoutError:
            if stage.began is None:
                raise RuntimeError(f"it never came so far:\n{stage.program.output()}") from None
            return Measured(None)
