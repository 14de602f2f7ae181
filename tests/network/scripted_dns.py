"""A DNS server over UDP that does what it is told."""

import asyncio
import enum
import ipaddress
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

A, AAAA, IN = 1, 28, 1
RESPONSE, NOERROR, SERVFAIL, NXDOMAIN = 0x8180, 0, 2, 3
TTL = 1
DELAY = 2.0


class Mode(enum.Enum):
    ANSWER = "answers"
    SILENT = "silent"
    # Every second query for the same is answered: a resolver has to ask again after each loss.
    LOSE_FIRST = "loses the first query of each look-up"
    SLOW = "answers late"
    EMPTY = "answers without an address"
    NXDOMAIN = "says that there is no such name"
    SERVFAIL = "fails"


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """Mode and addresses may change at any time; names that are not known do not exist."""

    addresses: dict[str, list[str]]
    mode: Mode = Mode.ANSWER
    queries: Counter[tuple[str, int]] = field(default_factory=Counter)
    _transport: asyncio.DatagramTransport | None = None

    async def listen(self, listener: socket.socket) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=listener)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, question = _question(data)
        self.queries[name, kind] += 1
        if self.mode is Mode.SILENT or (self.mode is Mode.LOSE_FIRST and self.queries[name, kind] % 2 == 1):
            return
        answer = data[:2] + self._answer(name, kind, question)
        delay = DELAY if self.mode is Mode.SLOW else 0
        asyncio.get_running_loop().call_later(delay, self._send, answer, addr)

    def _send(self, answer: bytes, address: tuple[str, int]) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.sendto(answer, address)

    def _answer(self, name: str, kind: int, question: bytes) -> bytes:
        known = self.addresses.get(name)
        code = {Mode.NXDOMAIN: NXDOMAIN, Mode.SERVFAIL: SERVFAIL}.get(self.mode, NXDOMAIN if known is None else NOERROR)
        packed = [ipaddress.ip_address(address).packed for address in known or []]
        length = {A: 4, AAAA: 16}.get(kind)
        found = [data for data in packed if len(data) == length]
        if code != NOERROR or self.mode is Mode.EMPTY:
            found = []
        # Each record names the question's name by its place in the message.
        records = [struct.pack("!HHHIH", 0xC00C, kind, IN, TTL, len(data)) + data for data in found]
        return struct.pack("!HHHHH", RESPONSE | code, 1, len(records), 0, 0) + question + b"".join(records)


def _question(query: bytes) -> tuple[str, int, bytes]:
    """The name and type that are asked for, and the bytes that say so."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]
