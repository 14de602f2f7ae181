"""A proxy that passes on the fields of requests that it knows: allow_list.py PORT UPSTREAM"""

from relay import app, serve

KNOWN = {
    "accept", "accept-encoding", "authorization", "content-type", "traceparent", "user-agent",
    "origin", "access-control-request-method", "access-control-request-headers",
}  # fmt: skip

serve(app(lambda response: response.aiter_raw(), passes=lambda name: name in KNOWN))
