"""A backend whose answers are chosen by the path, over HTTP/1.1.

/prefill never answers; /silent sends one event and then nothing; /events sends one every 0.2 s; /socket opens a WebSocket that
is silent, and /socket/busy one with a message every 0.2 s; everything else is answered with the backend's name.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import time
from dataclasses import dataclass, field

EVENT = b'data: {"token":"word "}\n\n'
PACE = 0.2
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE = b"\x81\x05hello"


@dataclass
class Backend:
    """What listens on a socket, and what it saw."""

    name: str = "backend"
    # Each request on a connection of its own.
    closes: bool = False
    requests: asyncio.Queue[tuple[str, int]] = field(default_factory=asyncio.Queue)
    # When connections ended, by the port they came from.
    ended: dict[int, float] = field(default_factory=dict)
    _open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def listen(self, *listeners: socket.socket) -> None:
        for listener in listeners:
            self._servers.append(await asyncio.start_server(self._serve, sock=listener))

    @property
    def open(self) -> int:
        return len(self._open)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in self._open.values() if task]
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        port = writer.get_extra_info("peername")[1]
        try:
            await self._connection(reader, writer, port)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended[port] = time.monotonic()
            del self._open[writer]
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.requests.put_nowait((path, port))
            if path == "/prefill":
                await _read_to_end(reader)
            elif path in ("/silent", "/events"):
                writer.write(STREAM + _chunk(EVENT))
                await _until_end(reader, writer, _chunk(EVENT) if path == "/events" else None)
            elif path.startswith("/socket"):
                writer.write(_switching(head))
                await _until_end(reader, writer, MESSAGE if path == "/socket/busy" else None)
            else:
                body = self.name.encode()
                last = b"Connection: close\r\n" if self.closes else b""
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), last, body))
                if not self.closes:
                    continue
                await writer.drain()
            return


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _switching(head: bytes) -> bytes:
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
    accept = base64.b64encode(hashlib.sha1((key[1] if key else b"") + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, repeated: bytes | None) -> None:
    """Repeats this until the other side ends the connection."""

    async def repeat(data: bytes) -> None:
        while True:
            await asyncio.sleep(PACE)
            writer.write(data)

    task = asyncio.create_task(repeat(repeated)) if repeated else None
    try:
        await _read_to_end(reader)
    finally:
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
