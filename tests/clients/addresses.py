"""A name whose addresses are servers, and change: addresses.py [--quick]

The name is in an /etc/hosts that only sidestream sees. Each of its addresses gets requests; one that joins gets some, one that is gone
gets none, and the stream that it carries goes on.
"""

import http.client
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import LIMIT, Sidestream, arguments, reserved_port, wait_for

NAME = "many.test"
CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams: {{ llm: {{ servers: [{{ url: "http://{name}:{port}", resolve: 100ms }}], balance: round_robin }} }}
"""


class Server(BaseHTTPRequestHandler):
    """Says at which address it is; a stream says so again and again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        address = self.server.server_address[0].encode()
        self.send_response(200)
        if self.path != "/stream":
            self.send_header("Content-Length", str(len(address)))
            self.end_headers()
            self.wfile.write(address)
            return
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        while not self.server.is_over:
            try:
                self.wfile.write(b"data: %s\n\n" % address)
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_):
        pass


def serve(address, port):
    server = ThreadingHTTPServer((address, port), Server)
    server.daemon_threads, server.is_over = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def get(proxy, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.ports(1)[0], timeout=LIMIT)
    connection.request("GET", path)
    return connection.getresponse()


def answering(proxy):
    """Who answers twenty requests."""
    return {get(proxy).read().decode() for _ in range(20)}


def write(hosts, addresses):
    hosts.seek(0)
    hosts.truncate()
    hosts.write("127.0.0.1 localhost\n" + "".join(f"{address} {NAME}\n" for address in addresses))
    hosts.flush()


def main():
    given = arguments(__doc__)
    first, second, third = "127.0.0.1", "127.0.0.2", "127.0.0.3"
    with reserved_port() as port, tempfile.NamedTemporaryFile("w") as hosts:
        servers = [serve(address, port) for address in (first, second, third)]
        write(hosts, [first, second])
        command = 'mount --bind "$0" /etc/hosts && exec "$@"'
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", command, hosts.name]
        found = subprocess.run([*inside, "getent", "ahosts", NAME], capture_output=True, text=True).stdout
        if first not in found or second not in found:
            print("names with several addresses were not tried: no /etc/hosts of one's own here", file=sys.stderr)
            return
        with Sidestream(CONFIGURATION.format(name=NAME, port=port), given.binary, inside) as proxy:
            wait_for("both addresses answer", lambda: answering(proxy) == {first, second})
            streams = [get(proxy, "/stream") for _ in range(2)]
            told = {stream.readline().decode().split()[1] for stream in streams}
            assert told == {first, second}, told
            write(hosts, [second, third])
            wait_for("the new address answers and the old one does not", lambda: answering(proxy) == {second, third})
            assert all(stream.readline() for stream in streams for _ in range(20)), "a stream of a vanished address ended"
            assert proxy.metric("sidestream_server_streams_active") == 2
            for server in servers:
                server.is_over = True
            wait_for("no slot is held", lambda: proxy.metric("sidestream_server_streams_active") == 0)
    print("each address of a name was a server: two at first, one that joined, one that left with its stream going on")


if __name__ == "__main__":
    main()
