"""gRPC through sidestream: grpc_calls.py [--quick] [--beside WAY...]

grpcio calls grpcio in plaintext (h2c, `h2://`) and over TLS (`h2s://`): every kind of call, its metadata, its errors, and its
ends on both sides. `--beside` makes the same calls on the bare connection (`direct`) or through Envoy, for comparison.
"""

import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from certificate import certificate
from grpc_client import MIB, Client, channel, raised, what, x_fields
from peers import peer
from processes import HERE, LIMIT, PYTHON, Process, Sidestream, arguments, wait_for

# As the server has them.
DETAILS = "50 % of Grüße\nare missing"
PARALLEL = 100
# Seconds.
SILENCE = 70
CONFIGURATION = """
listeners:
  - {{ address: 127.0.0.1:0 }}
  - {{ address: 127.0.0.1:0, tls: {{ certificate: {certificate.certificate}, key: {certificate.key} }} }}
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams:
  plain: {{ servers: ["h2://127.0.0.1:{plain}"] }}
  aging: {{ servers: ["h2://127.0.0.1:{aging}"] }}
  tls: {{ servers: ["h2s://127.0.0.1:{tls}"], tls: {{ ca: {certificate.certificate}, server_name: localhost }} }}
routes:
  - {{ match: {{ host: tls.test }}, upstream: tls }}
  - {{ match: {{ host: aging.test }}, upstream: aging }}
  - {{ match: {{}}, upstream: plain }}
"""


def unary(client):
    answer = client.method("unary")(b"hello", timeout=LIMIT)
    assert answer == b"hello", answer


def metadata(client):
    given = [("x-name", "value"), ("x-twice", "one"), ("x-twice", "two"), ("x-raw-bin", bytes(range(256)))]
    _, call = client.method("unary").with_call(b"", metadata=given, timeout=LIMIT)
    leading, trailing = x_fields(call.initial_metadata()), x_fields(call.trailing_metadata())
    assert leading == sorted([*given, ("x-leading", "yes")]), leading
    assert trailing == sorted([*given, ("x-trailing", "yes"), ("x-trailing-bin", b"\0\xff")]), trailing


def server_streaming(client):
    answers = list(client.method("server_streaming")(b"1000", timeout=LIMIT))
    assert answers == [b"%d" % number for number in range(1000)], answers[-3:]


def client_streaming(client):
    messages = [b"%d," % number for number in range(1000)]
    answer = client.method("client_streaming")(iter(messages), timeout=LIMIT)
    assert answer == b"".join(messages), answer


def bidirectional(client):
    """Each answer comes before the next question is asked."""
    answered = []

    def questions():
        for number in range(20):
            wait_for(f"answer {number}", lambda: len(answered) == number)
            yield b"%d" % number

    for answer in client.method("bidirectional")(questions(), timeout=LIMIT):
        answered.append(answer)
    assert answered == [b"answer to %d" % number for number in range(20)], answered


def server_speaks_first(client):
    """Heads pass both ways before there is any message."""
    greeted = threading.Event()

    def questions():
        greeted.wait(LIMIT)
        yield b"you too"

    call = client.method("greeting")(questions(), timeout=LIMIT)
    leading = x_fields(call.initial_metadata())
    assert leading == [("x-leading", "yes")], what(call) if call.done() else leading
    answers = [next(call)]
    greeted.set()
    answers += call
    assert answers == [b"hello", b"you too"], answers


def compressed(client):
    message = b"again and " * 1000
    answer = client.method("unary")(message, compression=grpc.Compression.Gzip, timeout=LIMIT)
    assert answer == message, answer


def answered_early(client):
    """The answer comes while the client still has something to say, and is no error."""
    answered = threading.Event()

    def questions():
        yield b"one"
        answered.wait(LIMIT)

    answer = client.method("first_of")(questions(), timeout=LIMIT)
    answered.set()
    assert answer == b"one", answer


def trailers_only(client):
    error = raised(lambda: client.method("refused")(b"", timeout=LIMIT))
    seen = (error.code(), error.details(), x_fields(error.trailing_metadata()))
    assert seen == (grpc.StatusCode.FAILED_PRECONDITION, DETAILS, [("x-trailing", "yes")]), seen


def error_after_messages(client):
    call, answers = client.method("late_error")(b"", timeout=LIMIT), []
    error = raised(lambda: answers.extend(call))
    seen = (answers, error.code(), error.details(), x_fields(error.trailing_metadata()))
    assert seen == ([b"one", b"two"], grpc.StatusCode.RESOURCE_EXHAUSTED, DETAILS, [("x-trailing", "yes")]), seen


def unknown_method(client):
    error = raised(lambda: client.channel.unary_unary("/calls/nobody_knows")(b"", timeout=LIMIT))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "ethod not found" in error.details(), what(error)


def deadline(client):
    """The server is told of the deadline, and that its client gave up."""
    call = f"{client.name}-deadline"
    error = raised(lambda: client.method("silent")(call.encode(), timeout=1))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, what(error)
    ended = client.ended(call)
    assert ended in ("cancelled, active False, deadline 1.0", "cancelled, active False, deadline 0.9"), ended


def cancelled_in_prefill(client):
    name = f"{client.name}-prefill"
    call = client.method("silent").future(name.encode())
    wait_for("the call reaches the server", lambda: call.done() or client.backend.said(f"^{name}: begun"))
    assert not call.done(), what(call.exception())
    call.cancel()
    assert client.ended(name) == "cancelled, active False, deadline none", client.ended(name)


def cancelled_in_midstream(client):
    name = f"{client.name}-midstream"
    call = client.method("endless")(name.encode())
    assert next(call) == b"one"
    call.cancel()
    assert client.ended(name) == "cancelled, active False, deadline none", client.ended(name)


def large(client):
    """4 MiB both ways, many times what a window takes."""
    message = bytes(range(256)) * (4 * MIB // 256)
    answer = client.method("unary")(message, timeout=LIMIT)
    assert answer == message, len(answer)


def parallel(client):
    """As many calls as a connection may have streams, open at the same time."""
    are_open = threading.Barrier(PARALLEL)

    def call(_):
        answered = threading.Event()

        def questions():
            yield b"one"
            answered.wait(LIMIT)
            yield b"two"

        answers = client.method("bidirectional")(questions(), timeout=LIMIT)
        try:
            first = next(answers)
            are_open.wait(LIMIT)
        finally:
            answered.set()
        return [first, *answers]

    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(call, range(PARALLEL)))
    assert answers == [[b"answer to one", b"answer to two"]] * PARALLEL, answers[:3]


def long_silence(client):
    """Servers of gRPC close connections on which they are asked too often whether they live."""
    call = f"{client.name}-silence"
    error = raised(lambda: client.method("silent")(call.encode(), timeout=SILENCE))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, what(error)
    assert client.ended(call).startswith("cancelled, active False"), client.ended(call)


def connections_of_a_second(client):
    """The server tells each connection to go after a second, and no call notices."""
    end, call = time.monotonic() + 5, client.method("server_streaming")
    while time.monotonic() < end:
        answers = list(call(b"20", timeout=LIMIT))
        assert len(answers) == 20, answers


QUICK = (
    unary,
    metadata,
    server_streaming,
    client_streaming,
    bidirectional,
    server_speaks_first,
    compressed,
    answered_early,
    trailers_only,
    error_after_messages,
    unknown_method,
    deadline,
    cancelled_in_prefill,
    cancelled_in_midstream,
    large,
    parallel,
)
FULL = (*QUICK, long_silence)
AGING = (connections_of_a_second,)


@contextlib.contextmanager
def ways(given, files, plain, tls, aging):
    """The channels to try: name, cases, port, whether it is TLS, and the host that the client names."""
    cases = QUICK if given.quick else FULL
    with contextlib.ExitStack() as stack:
        configuration = CONFIGURATION.format(certificate=files, plain=plain, tls=tls, aging=aging)
        ports = stack.enter_context(Sidestream(configuration, given.binary)).ports(2)
        tried = [
            ("h2c", cases, ports[0], False, "plain.test"),
            ("tls", cases, ports[1], True, "tls.test"),
            ("h2c", AGING, ports[0], False, "aging.test"),
        ]
        if "direct" in given.beside:
            tried += [("direct", cases, plain, False, "plain.test"), ("direct", AGING, aging, False, "aging.test")]
        if "envoy" in given.beside:
            port, _ = stack.enter_context(peer("envoy", plain, files, http2_upstream=True))
            tried.append(("envoy", cases, port, False, "plain.test"))
        yield tried


def run(backend, files, name, cases, *where):
    """Makes the calls, a channel each; returns how many were not as they must be."""
    failed = 0
    for case in cases:
        with channel(*where, files) as open_channel:
            try:
                case(Client(open_channel, backend, name))
                line = "as it must be"
            except (AssertionError, threading.BrokenBarrierError, grpc.RpcError) as error:
                failed += 1
                line = what(error)
        # With its end of line in one write: ways are tried at the same time.
        sys.stdout.write(f"{name}, {case.__name__}: {line}\n")
        sys.stdout.flush()
    return failed


def main():
    given = arguments(__doc__, ("--beside", {"nargs": "+", "choices": ("direct", "envoy"), "default": []}))
    failed = 0
    with certificate() as files, Process(PYTHON, HERE / "apps/grpc_app.py", files.certificate, files.key) as backend:
        ports = wait_for("the server serves", lambda: backend.said(r"serving (\d+) (\d+) (\d+)")).groups()
        with ways(given, files, *ports) as tried, ThreadPoolExecutor(len(tried)) as pool:
            for (name, *_), run_of in [(way, pool.submit(run, backend, files, *way)) for way in tried]:
                failed += run_of.result() if name in ("h2c", "tls") else 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
