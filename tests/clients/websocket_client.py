"""Takes the `websockets` client through the cases: websocket_client.py AUTHORITY URL... Prints what it saw, one JSON text a line."""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

LIMIT = 30
MIB = 1 << 20


async def echoed(open, message, path="/echo", **options):
    async with open(path, **options) as socket:
        await socket.send(message)
        return await socket.recv() == message


async def text(open):
    return await echoed(open, "Grüße, 世界 🌍")


async def binary(open):
    return await echoed(open, bytes(range(256)))


async def large_text(open):
    return await echoed(open, "0123456789abcdef" * (MIB // 16))


async def large_binary(open):
    # What does not shrink is as large on the wire.
    return await echoed(open, incompressible(), compression=None)


def incompressible():
    state, numbers = 1, bytearray()
    for _ in range(MIB // 4):
        state = (state * 1664525 + 1013904223) % (1 << 32)
        numbers += state.to_bytes(4, "big")
    return bytes(numbers)


async def pings(open):
    async with open("/ping") as socket:
        await (await socket.ping(b"hello?"))
        return await socket.recv()


async def closed_by_backend(open):
    async with open("/close") as socket:
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            return [closed.rcvd.code, closed.rcvd.reason]


async def closed_by_client(open):
    """Whoever gets a close frame sends its code back."""
    async with open("/echo") as socket:
        await socket.close(4322, "I have to go")
        return socket.close_code


async def compressed(open):
    async with open("/agreed") as socket:
        backend = json.loads(await socket.recv())["extensions"]
        message = "again and " * (MIB // 10)
        await socket.send(message)
        assert await socket.recv() == message
        return [[extension.name for extension in socket.protocol.extensions], backend]


async def uncompressed(open):
    async with open("/agreed", compression=None) as socket:
        return [[extension.name for extension in socket.protocol.extensions], json.loads(await socket.recv())["extensions"]]


async def subprotocol(open):
    async with open("/agreed", subprotocols=["chat.v2", "chat.v1"]) as socket:
        return [socket.subprotocol, json.loads(await socket.recv())["subprotocol"]]


async def refused(open):
    try:
        async with open("/refused"):
            return "opened"
    except InvalidStatus as error:
        response = error.response
        return [response.status_code, response.headers["Content-Type"], json.loads(response.body)["error"]["code"]]


async def flood(open):
    messages = []
    async with open("/flood") as socket:
        async for message in socket:
            messages.append(message)
    in_order = all(message == f"{number}:".ljust(1000, "x") for number, message in enumerate(messages))
    return [len(messages), in_order]


CASES = [
    text, binary, large_text, large_binary, pings, closed_by_backend, closed_by_client, compressed, uncompressed,
    subprotocol, refused, flood,
]


async def main(authority, *urls):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(authority)
    for url in urls:
        secure = {"ssl": tls} if url.startswith("wss:") else {}

        def open(path, **options):
            return connect(url + path, proxy=None, max_size=None, **secure, **options)

        for case in CASES:
            try:
                saw = await asyncio.wait_for(case(open), LIMIT)
            except Exception as error:
                saw = f"{type(error).__name__}: {error}"
            print(json.dumps({"url": url, "case": case.__name__, "saw": saw}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
