"""A client that sees bytes, and when they came."""

import asyncio
import re
import time
from dataclasses import dataclass, field

from h2.connection import H2Connection

from namespaces import Namespace

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass
class Exchange:
    """A request that was sent, and what is read of its answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: float
    received: bytes = b""
    marked: int = field(default=0)

    async def until(self, pattern: bytes) -> float | None:
        """The time at which what came after the mark matches this; `None`: the connection ended before.

        Who waits for it sets the limit.
        """
        while not re.search(pattern, self.received[self.marked :], re.DOTALL):
            try:
                more = await self.reader.read(65536)
            except OSError:
                more = b""
            if not more:
                return None
            self.received += more
        return time.monotonic()

    def mark(self) -> None:
        """What came until now is not looked at any more."""
        self.marked = len(self.received)

    @property
    def status(self) -> int | None:
        found = re.match(rb"HTTP/1\.1 (\d+)", self.received)
        return int(found[1]) if found else None

    @property
    def body(self) -> str:
        return self.received.partition(b"\r\n\r\n")[2].decode(errors="replace")

    def close(self) -> None:
        self.writer.transport.abort()


async def connect(namespace: Namespace, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    socket = namespace.stream_socket(address)
    try:
        await asyncio.get_running_loop().sock_connect(socket, (address, port))
    except BaseException:
        socket.close()
        raise
    return await asyncio.open_connection(sock=socket)


async def request(namespace: Namespace, address: str, port: int, path: str, fields: str = "") -> Exchange:
    """Sends a GET; a path that begins with /socket asks for a WebSocket."""
    reader, writer = await connect(namespace, address, port)
    if path.startswith("/socket"):
        fields += UPGRADE
    writer.write(f"GET {path} HTTP/1.1\r\nHost: llm.example\r\nAccept: text/event-stream\r\n{fields}\r\n".encode())
    return Exchange(reader, writer, time.monotonic())


async def request_over_http2(namespace: Namespace, address: str, port: int, path: str) -> Exchange:
    """The same over HTTP/2 with prior knowledge. Only what a stream carries can be looked for, nothing is acknowledged."""
    reader, writer = await connect(namespace, address, port)
    connection = H2Connection()
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "llm.example"), (":path", path)]
    connection.send_headers(connection.get_next_available_stream_id(), fields, end_stream=True)
    writer.write(connection.data_to_send())
    return Exchange(reader, writer, time.monotonic())


async def listens(namespace: Namespace, address: str, port: int) -> bool:
    try:
        _, writer = await connect(namespace, address, port)
    except OSError:
        return False
    writer.close()
    return True
