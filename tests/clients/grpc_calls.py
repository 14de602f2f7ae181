"""gRPC through sidestream: grpc_calls.py [--quick] [--beside WAY...]

grpcio calls grpcio in plaintext (h2c, `h2://`) and over TLS (`h2s://`): every kind of call, its metadata, its errors, and its ends on
both sides. `--beside` makes the same calls on the bare connection (`direct`) or through Envoy, for comparison.
"""

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from certificate import certificate
from peers import peer
from processes import HERE, LIMIT, PYTHON, Process, Sidestream, arguments, wait_for

MIB = 1 << 20
# As the server has them.
DETAILS = "50 % of Grüße\nare missing"
PARALLEL = 100
# What proxies add to a request, which the server echoes, and Envoy to a response.
ADDED = ("x-forwarded-", "x-request-id", "x-envoy-")
CONFIGURATION = """
listeners:
  - {{ address: 127.0.0.1:0 }}
  - {{ address: 127.0.0.1:0, tls: {{ certificate: {certificate.certificate}, key: {certificate.key} }} }}
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams:
  plain: {{ servers: ["h2://127.0.0.1:{plain}"] }}
  tls: {{ servers: ["h2s://127.0.0.1:{tls}"], tls: {{ ca: {certificate.certificate}, server_name: localhost }} }}
routes:
  - {{ match: {{ host: tls.test }}, upstream: tls }}
  - {{ match: {{}}, upstream: plain }}
"""


class Client:
    """A channel, by the names of the methods that the server has."""

    def __init__(self, channel, backend, name):
        self.channel, self.backend, self.name = channel, backend, name

    def method(self, name):
        kinds = {"server_streaming": "unary_stream", "late_error": "unary_stream", "endless": "unary_stream"}
        kinds |= {"client_streaming": "stream_unary", "bidirectional": "stream_stream"}
        return getattr(self.channel, kinds.get(name, "unary_unary"))(f"/calls/{name}")

    def ended(self, call):
        """How the server saw the end of a call, to which it was given as its message."""
        return wait_for(f"the server sees the end of {call}", lambda: self.backend.said(rf"^{call}: (.*)$"))[1]


def raised(call):
    """The error of a call, which must have one."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"no error, but {answer!r}")


def x_fields(metadata):
    return sorted((name, value) for name, value in metadata if name.startswith("x-") and not name.startswith(ADDED))


def what(error):
    """An error on one line."""
    return f"{error.code().name}, {error.details()!r}" if isinstance(error, grpc.Call) else str(error)


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
    answer = client.method("client_streaming")((b"%d," % number for number in range(1000)), timeout=LIMIT)
    assert answer == b"".join(b"%d," % number for number in range(1000)), answer


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
    # There is nothing to wait for: the server has it soon, or never does.
    with contextlib.suppress(grpc.FutureTimeoutError):
        call.result(0.3)
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
    answered = []

    def questions():
        yield b"one"
        wait_for("all calls are open", lambda: len(answered) == PARALLEL)
        yield b"two"

    def call(_):
        answers = client.method("bidirectional")(questions(), timeout=LIMIT)
        answered.append(next(answers))
        return list(answers)

    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(call, range(PARALLEL)))
    assert answers == [[b"answer to two"]] * PARALLEL, answers[:3]


CASES = (unary, metadata, server_streaming, client_streaming, bidirectional, trailers_only, error_after_messages, unknown_method,
         deadline, cancelled_in_prefill, cancelled_in_midstream, large, parallel)  # fmt: skip


@contextlib.contextmanager
def ways(binary, beside, files, plain, tls):
    """The channels to try: name, address, whether it is TLS, and the host that the client names."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Sidestream(CONFIGURATION.format(certificate=files, plain=plain, tls=tls), binary))
        tried = [("h2c", proxy.ports(2)[0], False, "plain.test"), ("tls", proxy.ports(2)[1], True, "tls.test")]
        if "direct" in beside:
            tried.append(("direct", plain, False, "plain.test"))
        if "envoy" in beside:
            ports = stack.enter_context(peer("envoy", plain, files, http2_upstream=True))
            tried.append(("envoy", ports[0], False, "plain.test"))
        yield tried


def channel(port, is_tls, host, files):
    options = [(f"grpc.max_{what}_message_length", 8 * MIB) for what in ("receive", "send")]
    # A retry of grpcio's own would hide what went wrong.
    options += [("grpc.enable_retries", 0), ("grpc.default_authority", host)]
    address = f"127.0.0.1:{port}"
    if not is_tls:
        return grpc.insecure_channel(address, options)
    options.append(("grpc.ssl_target_name_override", "localhost"))
    credentials = grpc.ssl_channel_credentials(files.certificate.read_bytes())
    return grpc.secure_channel(address, credentials, options)


def main():
    given = arguments(__doc__, ("--beside", {"nargs": "+", "choices": ("direct", "envoy"), "default": []}))
    is_well = True
    with certificate() as files, Process(PYTHON, HERE / "apps/grpc_app.py", files.certificate, files.key) as backend:
        plain, tls = wait_for("the server serves", lambda: backend.said(r"serving (\d+) (\d+)")).groups()
        with ways(given.binary, given.beside, files, plain, tls) as tried:
            for way, *where in tried:
                for case in CASES:
                    with channel(*where, files) as open_channel:
                        try:
                            case(Client(open_channel, backend, way))
                            print(f"{way}, {case.__name__}: as it must be", flush=True)
                        except (AssertionError, grpc.RpcError) as error:
                            is_well &= way not in ("h2c", "tls")
                            print(f"{way}, {case.__name__}: {what(error)}", flush=True)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
