"""What calls of gRPC fail with: grpc_failures.py [--quick] [--beside WAY...]

A backend that breaks off must be seen as on the bare connection, and what sidestream refuses or gives up by itself as a status
of gRPC that says what is wrong. `--beside` shows what is seen on the bare connection (`direct`) and behind Envoy.
"""

import contextlib
import socket
import sys

import grpc
from broken_http2 import CLOSED, ENDED, SILENT, Broken
from certificate import certificate
from grpc_client import what
from peers import peer
from processes import LIMIT, Sidestream, arguments, reserved_port, wait_for
from scripted import Scripted, serving

CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: off
access_log: off
upstreams: {{ app: {{ servers: ["{server}"], connect_timeout: 1s }} }}
stream: {{ {stream} }}
"""
# RFC 9113, 7.
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 2, 7, 8, 11
# Of a backend: where it breaks off (before its head, after a message, within one), how, and what grpcio makes of that.
BREAKS = [
    ("head", NO_ERROR, "INTERNAL"),
    ("head", INTERNAL_ERROR, "INTERNAL"),
    ("head", REFUSED_STREAM, "UNAVAILABLE"),
    ("head", CANCEL, "CANCELLED"),
    ("head", ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"),
    ("head", CLOSED, "UNAVAILABLE"),
    ("message", NO_ERROR, "INTERNAL"),
    ("message", INTERNAL_ERROR, "INTERNAL"),
    ("message", REFUSED_STREAM, "UNAVAILABLE"),
    ("message", CANCEL, "CANCELLED"),
    ("message", ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED"),
    ("message", CLOSED, "UNAVAILABLE"),
    ("message", ENDED, "UNKNOWN"),
    ("half", INTERNAL_ERROR, "INTERNAL"),
    ("half", CLOSED, "UNAVAILABLE"),
    ("half", ENDED, "UNKNOWN"),
]
# sidestream's own: its stream's keys, where the backend falls silent, and the status.
TIMEOUTS = [
    ("first_event_timeout: 500ms", "head", "DEADLINE_EXCEEDED"),
    ("idle_timeout: 500ms", "message", "DEADLINE_EXCEEDED"),
    ("idle_timeout: 500ms", "half", "DEADLINE_EXCEEDED"),
    ("max_duration: 500ms", "head", "DEADLINE_EXCEEDED"),
    ("max_duration: 500ms", "message", "DEADLINE_EXCEEDED"),
]


class Http1(Scripted):
    """A server that is not spoken to with gRPC; gRPC-Web is none of it, and passes."""

    asked = []

    def do_POST(self):
        self.asked.append(self.headers["Content-Type"])
        self.answer(200, self.body(), content_type=self.headers["Content-Type"])


def call(port, path):
    """What comes of a call: its messages, and the error."""
    messages = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)]) as channel:
        try:
            messages.extend(channel.unary_stream(path)(b"", timeout=LIMIT))
        except grpc.RpcError as error:
            return messages, error
    return messages, None


def seen(port, path):
    """The status of a call, and its error on one line."""
    messages, error = call(port, path)
    return (error.code().name if error else "OK"), f"{len(messages)} messages, {what(error) if error else 'OK'}"


def proxied(binary, server, stream=""):
    return Sidestream(CONFIGURATION.format(server=server, stream=stream), binary)


def breaks(given, files, report):
    """The backend breaks off, as on the bare connection."""
    with Broken() as backend, contextlib.ExitStack() as stack:
        ways = {"sidestream": stack.enter_context(proxied(given.binary, f"h2://127.0.0.1:{backend.port}")).ports(1)[0]}
        if "direct" in given.beside:
            ways["direct"] = backend.port
        if "envoy" in given.beside:
            ways["envoy"] = stack.enter_context(peer("envoy", backend.port, files, http2_upstream=True))[0]
        for where, how, expected in BREAKS:
            for way, port in ways.items():
                status, line = seen(port, f"/{where}/{how}")
                report(way, f"{where} then {how}", line, status == expected, f"must be {expected}")


def unreachable(given, files, report):
    with reserved_port() as port, contextlib.ExitStack() as stack:
        ways = {"sidestream": stack.enter_context(proxied(given.binary, f"h2://127.0.0.1:{port}")).ports(1)[0]}
        if "direct" in given.beside:
            ways["direct"] = port
        if "envoy" in given.beside:
            ways["envoy"] = stack.enter_context(peer("envoy", port, files, http2_upstream=True))[0]
        for way, port in ways.items():
            status, line = seen(port, "/any/call")
            is_told = way != "sidestream" or "could not be reached" in line
            report(
                way, "the backend is down", line, status == "UNAVAILABLE" and is_told, "must be UNAVAILABLE with our message"
            )


def timeouts(given, _, report):
    """sidestream gives up: the client is told in gRPC's form, and the backend that it is over."""
    for stream, where, expected in TIMEOUTS:
        with Broken() as backend, proxied(given.binary, f"h2://127.0.0.1:{backend.port}", stream) as proxy:
            path = f"/{where}/{SILENT}"
            status, line = seen(proxy.ports(1)[0], path)
            report("sidestream", f"{stream}, silent after {where}", line, status == expected, f"must be {expected}")
            wait_for("the backend is cancelled", lambda: (path, CANCEL) in backend.resets)


def http1_upstream(given, _, report):
    with serving(Http1) as server, proxied(given.binary, server) as proxy:
        [port] = proxy.ports(1)
        status, line = seen(port, "/calls/unary")
        is_told = status == "UNIMPLEMENTED" and "h2://" in line
        report(
            "sidestream", "to http://", line, is_told and not Http1.asked, "must be UNIMPLEMENTED, with h2:// in the message"
        )
        head, _ = http1_call(port, "application/grpc-web+proto")
        report(
            "sidestream",
            "gRPC-Web to http://",
            head.split("\r\n")[0],
            Http1.asked == ["application/grpc-web+proto"],
            "must pass",
        )


def http1_client(given, _, report):
    with Broken() as backend, proxied(given.binary, f"h2://127.0.0.1:{backend.port}") as proxy:
        head, body = http1_call(proxy.ports(1)[0], "application/grpc+proto")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
        told = [fields.get(name) for name in ("content-type", "grpc-status", "grpc-message")]
        is_told = (
            head.startswith("HTTP/1.1 200 ")
            and told[:2] == ["application/grpc", "12"]
            and "http/2" in str(told[2])
            and not body
        )
        line = f"{head.split(chr(13))[0]}, {told}"
        report(
            "sidestream",
            "over HTTP/1.1",
            line,
            is_told and not backend.requests,
            "must be 200 with grpc-status 12 and HTTP/2 in the message",
        )


def http1_call(port, content_type):
    """The head and the body that a call over HTTP/1.1 is answered with."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        lines = [
            "POST /head/silent HTTP/1.1",
            "Host: a",
            "TE: trailers",
            "Connection: TE, close",
            f"Content-Type: {content_type}",
        ]
        client.sendall("\r\n".join([*lines, "Content-Length: 5", "", ""]).encode() + bytes(5))
        client.settimeout(5)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while piece := client.recv(65536):
                answer += piece
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def main():
    given = arguments(__doc__, ("--beside", {"nargs": "+", "choices": ("direct", "envoy"), "default": []}))
    failed = []

    def report(way, case, line, is_well, must):
        print(f"{way}, {case}: {line}{'' if is_well or way != 'sidestream' else f' ({must})'}", flush=True)
        if not is_well and way == "sidestream":
            failed.append(case)

    with certificate() as files:
        for part in (breaks, unreachable, timeouts, http1_upstream, http1_client):
            try:
                part(given, files, report)
            except AssertionError as error:
                report("sidestream", part.__name__, str(error), False, "must not happen")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
