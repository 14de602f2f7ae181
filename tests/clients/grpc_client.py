"""A client of apps/grpc_app.py, and what it sees."""

import grpc
from processes import wait_for

MIB = 1 << 20
# What proxies add to a request, which the server echoes, and Envoy to a response.
ADDED = ("x-forwarded-", "x-request-id", "x-envoy-")


class Client:
    """A channel, by the names of the methods that the server has."""

    def __init__(self, channel, backend, name):
        self.channel, self.backend, self.name = channel, backend, name

    def method(self, name):
        kinds = {"server_streaming": "unary_stream", "late_error": "unary_stream", "endless": "unary_stream"}
        kinds |= {
            "client_streaming": "stream_unary",
            "first_of": "stream_unary",
            "bidirectional": "stream_stream",
            "greeting": "stream_stream",
        }
        return getattr(self.channel, kinds.get(name, "unary_unary"))(f"/calls/{name}")

    def ended(self, call):
        """How the server saw the end of a call, to which it was given as its message."""
        return wait_for(
            f"the server sees the end of {call}", lambda: self.backend.said(rf"^{call}: (cancelled.*|forgotten.*)$")
        )[1]


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
