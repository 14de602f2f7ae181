"""A name whose first address refuses connections: hosts.py [--quick]

The name is ::1 and 127.0.0.1, in an /etc/hosts that only sidestream sees, and the backend listens on 127.0.0.1 only:
requests, streams and WebSockets must reach it.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading

from curl import WHOLE, curl
from processes import LIMIT, Sidestream, arguments
from scripted import Scripted, serving

NAME = "both.test"
HOSTS = f"127.0.0.1 localhost {NAME}\n::1 localhost {NAME}\n"
TIMES, QUICK_TIMES = 100, 5
CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: off
access_log: off
upstreams:
  http: {{ servers: ["http://{name}:{http}"] }}
  websocket: {{ servers: ["http://{name}:{websocket}"] }}
routes:
  - {{ match: {{ path: /socket }}, upstream: websocket }}
  - {{ match: {{}}, upstream: http }}
"""
EVENT = b"data: one\n\n"


class Server(Scripted):
    """Closes its connections, so that each request needs a new one."""

    def do_GET(self):
        self.stream([EVENT], "clean")
        self.close_connection = True

    def do_POST(self):
        self.answer(200, self.body(), content_type="text/plain", connection="close")


@contextlib.contextmanager
def echoing():
    """A WebSocket server; yields its port."""
    from websockets.sync.server import serve

    def echo(connection):
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


def request(url, _):
    return curl(f"{url}/request", "-d", "hello"), ("hello", WHOLE)


def stream(url, _):
    return curl(f"{url}/stream"), (EVENT.decode(), WHOLE)


def websocket(_, port):
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{port}/socket", open_timeout=LIMIT) as client:
        client.send("hello")
        return client.recv(LIMIT), "hello"


@contextlib.contextmanager
def two_addresses():
    """A command that runs another with HOSTS for its /etc/hosts; None where this machine does not allow that."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(HOSTS)
        file.flush()
        command = 'mount --bind "$0" /etc/hosts && exec "$@"'
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", command, file.name]
        found = subprocess.run([*inside, "getent", "ahosts", NAME], capture_output=True, text=True)
        first = found.stdout.split(maxsplit=1)
        yield inside if first and first[0] == "::1" else None


def outcome(case, proxy):
    """What is wrong with it, if anything."""
    try:
        got, expected = case(proxy.url, proxy.ports(1)[0])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if got == expected else got


def main():
    given = arguments(__doc__)
    count = QUICK_TIMES if given.quick else TIMES
    is_well = True
    with two_addresses() as inside, serving(Server) as server, echoing() as port:
        if not inside:
            print("names with two addresses were not tried: no /etc/hosts of one's own here", file=sys.stderr)
            return
        configuration = CONFIGURATION.format(name=NAME, http=server.rpartition(":")[2], websocket=port)
        with Sidestream(configuration, given.binary, inside) as proxy:
            for case in (request, stream, websocket):
                wrong = [said for said in (outcome(case, proxy) for _ in range(count)) if said]
                print(
                    f"{case.__name__}: {count - len(wrong)} of {count} passed{f', but: {wrong[0]}' if wrong else ''}",
                    flush=True,
                )
                is_well &= not wrong
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
