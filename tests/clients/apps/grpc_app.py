"""A gRPC server without a schema, whose messages are bytes: grpc_app.py CERTIFICATE KEY

It says at which ports it serves (in plaintext, with TLS, and in plaintext on connections that it gives up after a second), and
how calls ended that did not end by themselves.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

# Seconds that a call may last: longer than its client waits.
LIMIT = 120
# At once, each of which has a thread.
CALLS = 512
LARGEST = 8 << 20
# What a status may have that its percent-encoding must keep.
DETAILS = "50 % of Grüße\nare missing"


def unary(request, context):
    """Echoes the message, and the metadata that begin with `x-` in both of its own."""
    given = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-")]
    context.send_initial_metadata([*given, ("x-leading", "yes")])
    context.set_trailing_metadata([*given, ("x-trailing", "yes"), ("x-trailing-bin", b"\0\xff")])
    return request


def server_streaming(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_streaming(requests, context):
    return b"".join(requests)


def bidirectional(requests, context):
    for request in requests:
        yield b"answer to " + request


def first_of(requests, context):
    """Answers before its client has said all."""
    return next(requests)


def greeting(requests, context):
    """Leading metadata, and then a message, before its client says anything."""
    context.send_initial_metadata([("x-leading", "yes")])
    yield b"hello"
    for request in requests:
        yield request


def refused(request, context):
    """An error before anything else: the response is trailers only."""
    context.set_trailing_metadata([("x-trailing", "yes")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, DETAILS)


def late_error(request, context):
    yield b"one"
    yield b"two"
    context.set_trailing_metadata([("x-trailing", "yes")])
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, DETAILS)


def _say(line):
    """In one piece: calls run in threads."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _watched(request, context):
    """Says when the call begins and is cancelled, with the name that it was given. Returns what is set when it is over."""
    name, over = request.decode(), threading.Event()
    left = context.time_remaining()
    # Without a deadline grpcio may give one in the far future.
    deadline = "none" if left is None or left > 1e6 else f"{left:.1f}"

    def end():
        _say(f"{name}: cancelled, active {context.is_active()}, deadline {deadline}")
        over.set()

    _say(f"{name}: begun")
    if not context.add_callback(end):
        end()
    return over


def _forgotten(request, over):
    if not over.wait(LIMIT):
        _say(f"{request.decode()}: forgotten")


def silent(request, context):
    _forgotten(request, _watched(request, context))
    return b""


def endless(request, context):
    # Once it is cancelled, it is not asked for another message.
    over = _watched(request, context)
    yield b"one"
    _forgotten(request, over)


METHODS = {
    "unary": grpc.unary_unary_rpc_method_handler(unary),
    "server_streaming": grpc.unary_stream_rpc_method_handler(server_streaming),
    "client_streaming": grpc.stream_unary_rpc_method_handler(client_streaming),
    "first_of": grpc.stream_unary_rpc_method_handler(first_of),
    "bidirectional": grpc.stream_stream_rpc_method_handler(bidirectional),
    "greeting": grpc.stream_stream_rpc_method_handler(greeting),
    "refused": grpc.unary_unary_rpc_method_handler(refused),
    "late_error": grpc.unary_stream_rpc_method_handler(late_error),
    "silent": grpc.unary_unary_rpc_method_handler(silent),
    "endless": grpc.unary_stream_rpc_method_handler(endless),
}


def server(*options):
    largest = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
    made = grpc.server(ThreadPoolExecutor(CALLS), options=[*largest, *options])
    made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("calls", METHODS)])
    return made


def main():
    certificate, key = (Path(name).read_bytes() for name in sys.argv[1:])
    lasting, aging = server(), server(("grpc.max_connection_age_ms", 1000))
    plain = lasting.add_insecure_port("127.0.0.1:0")
    tls = lasting.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    short = aging.add_insecure_port("127.0.0.1:0")
    lasting.start()
    aging.start()
    _say(f"serving {plain} {tls} {short}")
    lasting.wait_for_termination()


if __name__ == "__main__":
    main()
