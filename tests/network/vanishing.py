"""Clients and backends that vanish: from one moment on nothing comes from them, no FIN and no RST either."""

import asyncio
from functools import partial

from backend import EVENT
from client import Exchange
from network import BACKEND, OTHER_BACKEND
from proxies import Setup
from stage import Case, Measured, Stage

HTTP1, HTTP2 = Setup(BACKEND), Setup(BACKEND, http2=True)
# Its first stream fails soon, so that the next request meets the connection while it still looks alive.
TIMES_OUT = Setup(BACKEND, http2=True, first_event_timeout="2s")
TWO_ADDRESSES = Setup("llm.test", http2=True, first_event_timeout="2s", hosts=f"{BACKEND} llm.test\n{OTHER_BACKEND} llm.test\n")
# What has arrived when the other side vanishes, by path.
FIRST = {"/silent": EVENT, "/events": EVENT + b".*" + EVENT, "/socket": b" 101 ", "/socket/busy": b"hello.*hello"}
# An error event, a last chunk, or the head of an answer.
END = rb"event: error|(^|\r\n)0\r\n\r\n|HTTP/1\.1 \d+"
# Of a stream that is not whole.
FALSE_END = "clean end"
POLL = 0.01


async def _on_its_way(stage: Stage, path: str, over_http2: bool = False) -> tuple[Exchange, int]:
    """A request that has come as far as its path lets it, and the port that it came to the backend from."""
    exchange = await stage.request(path, over_http2=over_http2)
    _, port = await stage.backend.requests.get()
    if path in FIRST:
        await exchange.until(FIRST[path])
    return exchange, port


async def client_vanishes(path: str, stage: Stage, over_http2: bool = False) -> Measured:
    """Until the backend sees its connection closed."""
    _, port = await _on_its_way(stage, path, over_http2)
    stage.network.client_vanishes()
    began = stage.begin()
    while port not in stage.backend.ended:
        await asyncio.sleep(POLL)
    return Measured(stage.backend.ended[port] - began)


async def backend_vanishes(path: str, stage: Stage) -> Measured:
    """Until the client has an answer, an error event, or the end of its connection."""
    exchange, _ = await _on_its_way(stage, path)
    stage.network.backend_vanishes()
    began = stage.begin()
    exchange.mark()
    came = await exchange.until(END)
    what = _what_came(exchange, came)
    return Measured(stage.seconds_since(began, came), what, is_right=what != FALSE_END)


def _what_came(exchange: Exchange, came: float | None) -> str:
    if came is None:
        return "break"
    rest = exchange.received[exchange.marked :]
    if b"event: error" in rest:
        return "error event"
    return str(exchange.status) if rest.startswith(b"HTTP/") else FALSE_END


async def next_request(stage: Stage, address_stays: bool) -> Measured:
    """How long the next request takes, when one on the same connection has timed out without a byte."""
    exchange, port = await _on_its_way(stage, "/prefill")
    if address_stays:
        stage.network.backend_forgets(port)
    else:
        stage.network.backend_vanishes()
    await exchange.until(END)
    began = stage.begin()
    following = await stage.request("/next")
    came = await following.until(END)
    return Measured(stage.seconds_since(began, came), _what_came(following, came), following.status == 200)


def _http2_client(phase: str, path: str, limit: float, quick_limit: float) -> Case:
    run = partial(client_vanishes, path, over_http2=True)
    return Case(f"HTTP/2 client vanishes in {phase}", HTTP1, run, limit, quick_limit, is_http2_client=True)


CASES = [
    Case("client vanishes in mid-stream", HTTP1, partial(client_vanishes, "/events"), 40, 10),
    Case("client vanishes in prefill", HTTP1, partial(client_vanishes, "/prefill"), 62, 10),
    Case("client vanishes in a silent stream", HTTP1, partial(client_vanishes, "/silent"), 62, 10),
    Case("client vanishes from a silent WebSocket", HTTP1, partial(client_vanishes, "/socket"), 62, 10),
    Case("client vanishes from a busy WebSocket", HTTP1, partial(client_vanishes, "/socket/busy"), 40, 10),
    _http2_client("mid-stream", "/events", 40, 10),
    _http2_client("prefill", "/prefill", 62, 10),
    _http2_client("a silent stream", "/silent", 62, 10),
    Case("backend vanishes in prefill", HTTP1, partial(backend_vanishes, "/prefill"), 62, 10),
    Case("backend vanishes in a silent stream", HTTP1, partial(backend_vanishes, "/silent"), 62, 10),
    Case("backend vanishes in mid-stream", HTTP1, partial(backend_vanishes, "/events"), 62, 10),
    Case("HTTP/2 backend vanishes in prefill", HTTP2, partial(backend_vanishes, "/prefill"), 62, 10),
    Case("HTTP/2 backend vanishes in a silent stream", HTTP2, partial(backend_vanishes, "/silent"), 62, 10),
    Case("HTTP/2 backend vanishes in mid-stream", HTTP2, partial(backend_vanishes, "/events"), 62, 10),
    Case("HTTP/2 connection died, next request", TIMES_OUT, partial(next_request, address_stays=True), 1, 1.5),
    Case("HTTP/2 address died, next request", TWO_ADDRESSES, partial(next_request, address_stays=False), 1, 1.5),
]
