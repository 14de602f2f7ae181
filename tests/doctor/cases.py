"""The chains, what the doctor is to find in each, and what is done about it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hops import (
    ALLOW_LIST,
    CADDY,
    ENVOY,
    EXPRESS,
    GZIP,
    HAPROXY,
    HTTP10,
    IN_CHUNKS,
    NGINX,
    NODE_PROXY,
    PYTHON,
    SIDESTREAM_HOP,
    Hop,
)

NGINX_FOR_STREAMS = NGINX.with_lines('proxy_buffering off;\nproxy_http_version 1.1;\nproxy_set_header Connection "";')


@dataclass(frozen=True)
class Case:
    """A chain with something wrong in it."""

    name: str
    # From inside to outside.
    hops: tuple[Hop, ...]
    # The warnings and errors, by the hop that is named: those of the first look, and of each one after what they named is mended.
    finds: tuple[dict[str, set[str]], ...]
    infos: set[str] = field(default_factory=set)
    # What stays, and may.
    remains: set[str] = field(default_factory=set)
    options: tuple[str, ...] = ()
    # What is done about a finding that is mended by what a note says, and not by lines.
    by_hand: dict[str, Callable[[Hop, dict], Hop]] = field(default_factory=dict)
    # Made in every run of the tests.
    is_quick: bool = False

    @property
    def is_possible(self):
        return all(hop.is_installed for hop in self.hops)


def newer_starlette(hop, remedy):
    assert remedy["write"] == "starlette>=0.46", remedy
    return replace(hop, program=PYTHON)


def without(line):
    def taken_out(hop, _):
        assert line in hop.text, hop.text
        return replace(hop, text=hop.text.replace(line, ""))

    return taken_out


def passes_last_event_id(hop, _):
    return replace(hop, text=hop.text.replace('"traceparent"', '"traceparent", "last-event-id"'))


def in_http11(hop, _):
    """Answers in chunks, whose last one says that the response is complete."""
    text = hop.text
    for before, after in [
        ("class Relay(BaseHTTPRequestHandler):\n", '{}    protocol_version = "HTTP/1.1"\n\n'),
        ("        self.end_headers()\n", '        self.send_header("Transfer-Encoding", "chunked")\n{}'),
        ("            self.wfile.write(chunk)\n", '            self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(chunk), chunk))\n'
         '        self.wfile.write(b"0\\r\\n\\r\\n")\n'),
    ]:  # fmt: skip
        assert before in text, before
        text = text.replace(before, after.format(before))
    return replace(hop, text=text)


HELD = {"buffered", "cut_looks_complete", "downgraded"}

CASES = [
    Case("nginx as it comes", (NGINX,), ({"nginx": HELD},), is_quick=True),
    Case(
        "nginx that compresses",
        (NGINX_FOR_STREAMS.with_lines("gzip on;\ngzip_types text/event-stream;\ngzip_proxied any;"),),
        ({},),
        infos={"compressed"},
    ),
    Case(
        "nginx with a short limit",
        (NGINX_FOR_STREAMS.with_lines("proxy_read_timeout 5s;"),),
        ({"nginx": {"header_limit", "idle_limit"}},),
        options=("--idle", "8s"),
    ),
    Case(
        "nginx behind nginx",
        (NGINX.named("inner"), NGINX.named("outer")),
        # Whether the outer one speaks HTTP/1.0 does not show: the inner one speaks for itself.
        ({"inner": HELD}, {"outer": HELD - {"downgraded"}}),
    ),
    Case(
        "nginx that does not pass on that a client has left",
        (NGINX_FOR_STREAMS.with_lines("proxy_ignore_client_abort on;"),),
        ({"nginx": {"client_gone_not_propagated"}},),
    ),
    Case(
        "HAProxy without http-no-delay",
        (HAPROXY,),
        ({"haproxy": {"merged", "client_gone_not_propagated"}},),
        is_quick=True,
    ),
    Case(
        "Caddy that compresses",
        (CADDY.with_lines("encode zstd gzip", "bind"),),
        ({},),
        infos={"compressed"},
    ),
    Case(
        "Caddy that holds responses",
        (CADDY.with_lines("response_buffers 1MiB"),),
        ({"caddy": {"buffered_to_end"}},),
        by_hand={"buffered_to_end": without("\t  response_buffers 1MiB\n")},
    ),
    Case(
        "Envoy as it comes",
        (ENVOY,),
        ({"envoy": {"absolute_limit"}},),
        options=("--idle", "20s"),
    ),
    Case(
        "Express with compression",
        (EXPRESS,),
        ({"express": {"compressed", "late_header", "cut_looks_complete"}},),
        infos={"type_dependent"},
        # It goes on to compress other types.
        remains={"type_dependent"},
        is_quick=True,
    ),
    Case(
        "a proxy on http-proxy",
        (NODE_PROXY,),
        ({"node": {"client_gone_not_propagated", "late_header", "cut_looks_complete"}},),
    ),
    Case(
        "FastAPI with GZipMiddleware",
        (GZIP,),
        ({"fastapi": {"compressed", "type_dependent"}},),
        by_hand={"compressed": newer_starlette, "type_dependent": newer_starlette},
    ),
    Case("a proxy that reads 8 KiB at a time", (IN_CHUNKS,), ({"python": {"buffered"}},), is_quick=True),
    Case(
        "a proxy that answers in HTTP/1.0",
        (HTTP10,),
        ({"python": {"cut_looks_complete", "downgraded"}},),
        by_hand={"cut_looks_complete": in_http11, "downgraded": lambda hop, _: hop},
    ),
    Case(
        "a proxy that strips Last-Event-ID",
        (ALLOW_LIST,),
        ({"python": {"field_stripped"}},),
        by_hand={"field_stripped": passes_last_event_id},
        is_quick=True,
    ),
]

# Chains with nothing wrong in them.
CLEAN = {
    "direct": (),
    "Caddy as it comes": (CADDY,),
    "sidestream": (SIDESTREAM_HOP,),
    "HAProxy for streams": (HAPROXY.with_lines("option http-no-delay\noption abortonclose"),),
}
