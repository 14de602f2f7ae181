"""Trailers of HTTP/1.1 pass to clients that said `TE: trailers`, and to no others: trailers.py [--quick]

A raw client and a raw backend, so that each byte is seen.
"""

import contextlib
import re
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
from processes import LIMIT, Sidestream, arguments

CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: off
access_log: off
upstreams: {{ app: {{ servers: ["http://127.0.0.1:{port}"] }} }}
"""
BODY = b"4\r\nwhol\r\n1\r\ne\r\n0\r\n"
TRAILERS = b"X-Checksum: abc\r\nServer-Timing: db;dur=1\r\n"
# Fields that decide about framing, routing or the connection must not come after the body (RFC 9110, 6.5.1).
FORBIDDEN = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {type}\r\nTrailer: X-Checksum, Server-Timing\r\nTransfer-Encoding: chunked\r\n\r\n"


class Backend:
    """Answers each request with a body and its trailers, and keeps what it was asked."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while head := read_head(connection):
                self.asked.append(head)
                is_events = "GET /events" in head
                body = b"b\r\ndata: one\n\n\r\n0\r\n" if is_events else BODY
                connection.sendall(HEAD.format(type="text/event-stream" if is_events else "text/plain").encode() + body)
                connection.sendall((FORBIDDEN if "GET /forbidden" in head else b"") + TRAILERS + b"\r\n")


def read_head(connection):
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        received += byte
    return received.decode()


def get(port, path, *fields):
    """The head of a response, its decoded body, and its trailers, on a connection that takes another request afterwards."""
    lines = [f"GET {path} HTTP/1.1", "Host: a", *fields]
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        client.settimeout(LIMIT)
        for _ in range(2):
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            head, body = read_head(client), b""
            assert re.search(r"^transfer-encoding: chunked\r$", head, re.IGNORECASE | re.MULTILINE), head
            file = client.makefile("rb", buffering=0)
            while size := int(file.readline(), 16):
                body += file.read(size)
                assert file.readline() == b"\r\n"
            trailers = b"".join(iter(file.readline, b"\r\n"))
    return head, body, trailers


def get_http2(port, path, *fields):
    """The trailers of a response over HTTP/2, written as HTTP/1.1 has them."""
    http2, trailers = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None)), b""
    http2.initiate_connection()
    http2.send_headers(
        1, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path), *fields], end_stream=True
    )
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        client.settimeout(LIMIT)
        while True:
            client.sendall(http2.data_to_send())
            for event in http2.receive_data(client.recv(65536)):
                if isinstance(event, h2.events.TrailersReceived):
                    trailers = b"".join(b"%s: %s\r\n" % field for field in event.headers)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    assert isinstance(event, h2.events.StreamEnded), event
                    return trailers


def names(trailers):
    """Trailers as fields: the case of their names, and their order, mean nothing."""
    return sorted(
        (name.strip().lower(), value.strip()) for name, value in (line.split(b":", 1) for line in trailers.splitlines())
    )


def announced(head):
    return re.search(r"^trailer: ", head, re.IGNORECASE | re.MULTILINE) is not None


def asked_for(port, _):
    head, body, trailers = get(port, "/", "TE: trailers", "Connection: TE")
    assert body == b"whole" and names(trailers) == names(TRAILERS), (body, trailers)
    assert announced(head), head


def asked_for_with_a_weight(port, _):
    """`TE` is a list, of which `trailers` may be any member, however it is written."""
    _, _, trailers = get(port, "/", "TE: deflate;q=0.5, Trailers", "Connection: TE")
    assert names(trailers) == names(TRAILERS), trailers


def not_asked_for(port, _):
    head, body, trailers = get(port, "/")
    assert body == b"whole" and not trailers and not announced(head), (head, body, trailers)


def another_coding_asked_for(port, _):
    _, _, trailers = get(port, "/", "TE: deflate", "Connection: TE")
    assert not trailers, trailers


def of_events(port, _):
    _, body, trailers = get(port, "/events", "TE: trailers", "Connection: TE")
    assert body == b"data: one\n\n" and names(trailers) == names(TRAILERS), (body, trailers)


def forbidden(port, _):
    """What frames a message never comes after it."""
    _, _, trailers = get(port, "/forbidden", "TE: trailers", "Connection: TE")
    assert names(trailers) == names(TRAILERS), trailers


def over_http2(port, _):
    assert names(get_http2(port, "/", ("te", "trailers"))) == names(TRAILERS), get_http2(port, "/", ("te", "trailers"))


def over_http2_not_asked_for(port, _):
    assert not get_http2(port, "/"), get_http2(port, "/")


def told_to_the_backend(port, backend):
    """A backend sends trailers to whoever says so; nothing else of TE is for it, and Connection names TE (RFC 9110, 10.1.4)."""
    get(port, "/told", "TE: deflate, trailers", "Connection: TE")
    [head, *_] = [head for head in backend.asked if "GET /told" in head]
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
    assert fields.get("te") == "trailers" and "te" in fields.get("connection", ""), fields


CASES = (asked_for, asked_for_with_a_weight, not_asked_for, another_coding_asked_for, of_events, forbidden, over_http2,
         over_http2_not_asked_for, told_to_the_backend)  # fmt: skip


def main():
    given = arguments(__doc__)
    backend, is_well = Backend(), True
    with backend.listener, Sidestream(CONFIGURATION.format(port=backend.listener.getsockname()[1]), given.binary) as proxy:
        for case in CASES:
            try:
                case(proxy.ports(1)[0], backend)
                print(f"{case.__name__}: as it must be", flush=True)
            except (AssertionError, OSError) as error:
                is_well = False
                print(f"{case.__name__}: {error}", flush=True)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
