"""The chains, the findings that are expected in each, and how they are mended."""

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
    # The expected warnings and errors by the hop that is named: of the first run, and of each run after the findings are mended.
    finds: tuple[dict[str, set[str]], ...]
    infos: set[str] = field(default_factory=set)
    # Findings that may remain.
    remains: set[str] = field(default_factory=set)
    options: tuple[str, ...] = ()
    # Changes for findings whose remedy is a note without lines, by the id of the finding.
    by_hand: dict[str, Callable[[Hop], Hop]] = field(default_factory=dict)
    # Part of every run of the tests.
    is_quick: bool = False

    @property
    def is_possible(self):
        return all(hop.is_installed for hop in self.hops)


# The home-made hops. The doctor prints a note for them, because no line can be written into code that it does not know. These are the
# changes that the notes ask for.


def passes_last_event_id(hop):
    return replace(hop, text=hop.text.replace('"traceparent"', '"traceparent", "last-event-id"'))


def in_http11(hop):
    """Answers with chunked framing, whose last chunk marks the end of the response."""
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
        # The origin sees the HTTP version of the inner one only.
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
        # Other types are still compressed.
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
    ),
    Case("a proxy that reads 8 KiB at a time", (IN_CHUNKS,), ({"python": {"buffered"}},), is_quick=True),
    Case(
        "a proxy that answers in HTTP/1.0",
        (HTTP10,),
        ({"python": {"cut_looks_complete", "downgraded"}},),
        by_hand={"cut_looks_complete": in_http11, "downgraded": lambda hop: hop},
    ),
    Case(
        "a proxy that strips Last-Event-ID",
        (ALLOW_LIST,),
        ({"python": {"field_stripped"}},),
        by_hand={"field_stripped": passes_last_event_id},
        is_quick=True,
    ),
]

# Chains without a fault, and the options of the doctor. Over HTTP/2 the listener of a sidestream, and so the origin, allows 100 streams
# on a connection, which is no finding.
CLEAN = {
    "direct": ((), ()),
    "Caddy as it comes": ((CADDY,), ()),
    "sidestream": ((SIDESTREAM_HOP,), ()),
    "sidestream over HTTP/2": ((SIDESTREAM_HOP,), ("--http2",)),
    "HAProxy for streams": ((HAPROXY.with_lines("option http-no-delay\noption abortonclose"),), ()),
}
