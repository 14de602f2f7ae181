"""A backend of WebSockets, plain and over TLS: websocket_backend.py CERTIFICATE KEY. Prints its ports as a line of JSON.

What it does is chosen by the path. It ends with its standard input.
"""

import asyncio
import json
import ssl
import sys
from http import HTTPStatus

from websockets.asyncio.server import serve

FLOOD = 2000
REFUSAL = {"error": {"code": "invalid_api_key", "message": "Who are you?"}}


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def ping(socket):
    """Says how its own ping was answered."""
    await (await socket.ping(b"are you there?"))
    await socket.send("answered")
    await echo(socket)


async def close(socket):
    await socket.close(4321, "that is enough")


async def flood(socket):
    """As fast as it can, and so that a message that is lost, torn or out of order shows."""
    for number in range(FLOOD):
        await socket.send(f"{number}:".ljust(1000, "x"))
    await socket.close()


async def agreed(socket):
    """Says what was negotiated, as it is seen from here."""
    extensions = [extension.name for extension in socket.protocol.extensions]
    await socket.send(json.dumps({"subprotocol": socket.subprotocol, "extensions": extensions}))
    await echo(socket)


PATHS = {"/echo": echo, "/ping": ping, "/close": close, "/flood": flood, "/agreed": agreed}


async def handle(socket):
    await PATHS[socket.request.path](socket)


def answer(socket, request):
    """What is no WebSocket: a page to open some from, and a refusal."""
    if request.path == "/page":
        response = socket.respond(HTTPStatus.OK, "<!doctype html><title>page</title>")
        response.headers["Content-Type"] = "text/html"
        return response
    if request.path == "/refused":
        response = socket.respond(HTTPStatus.UNAUTHORIZED, json.dumps(REFUSAL))
        # Setting adds: the one that is there says text/plain.
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response
    return None


def choose(_, offered):
    return "chat.v1" if "chat.v1" in offered else None


async def main(certificate, key):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    options = {"process_request": answer, "select_subprotocol": choose, "max_size": None}
    async with serve(handle, "127.0.0.1", 0, **options) as plain, serve(handle, "127.0.0.1", 0, ssl=tls, **options) as secure:
        ports = [server.sockets[0].getsockname()[1] for server in (plain, secure)]
        print(json.dumps(ports), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
