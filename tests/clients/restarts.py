"""A page goes on with its events after the backend was killed and started again: restarts.py [--quick] [--beside PEER...]

Chromium's EventSource with `id` and `retry: 300`, over HTTP/1.1 and over HTTP/2. It connects again with Last-Event-ID while the
backend is still down, which is fatal to it if that is answered with an error status; and no event may be lost or doubled.
`--beside` takes other proxies, or the bare connection (`direct`), through the same.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from certificate import certificate
from peers import PEERS, peer
from processes import HERE, PYTHON, Process, Sidestream, arguments, reserved_port, wait_for

DOWN = (0.6, 2.0)
ROUNDS, QUICK_ROUNDS = 20, 3
CONFIGURATION = """
listeners:
  - {{ address: 127.0.0.1:0 }}
  - {{ address: 127.0.0.1:0, tls: {{ certificate: {certificate.certificate}, key: {certificate.key} }} }}
admin: off
access_log: off
upstreams: {{ app: {{ servers: ["http://127.0.0.1:{backend}"] }} }}
"""


class Backend:
    """A server that can be killed, and come back on its port."""

    def __init__(self, port):
        self.port = port
        self.process = self.ready()
        self.listen()

    def ready(self):
        """A process that only has to be told to listen."""
        process = Process(PYTHON, HERE / "apps/ticking.py", str(self.port), stdin=subprocess.PIPE)
        wait_for("the backend is ready", lambda: process.said("ready"))
        return process

    def listen(self):
        self.process.process.stdin.write(b"\n")
        self.process.process.stdin.flush()
        wait_for("the backend serves", lambda: self.process.said("serving"))

    def restart(self, down):
        """Kills it, and has it back after so many seconds."""
        before, self.process = self.process, self.ready()
        before.__exit__()
        # How long it is down is what is tried.
        time.sleep(down)
        self.listen()

    def kill(self):
        self.process.__exit__()


@contextlib.contextmanager
def in_front(name, port, binary, certificate):
    """The ports at which `name` listens in front of the backend: plaintext, and TLS if it has that."""
    if name == "direct":
        yield port, None
    elif name == "sidestream":
        with Sidestream(CONFIGURATION.format(backend=port, certificate=certificate), binary) as proxy:
            yield proxy.ports(2)
    else:
        with peer(name, port, certificate) as ports:
            yield ports


def verdict(saw):
    """What became of the stream: `resumed` if all is well."""
    if saw["end"] == "resumed" and saw["ids"] != list(range(1, len(saw["ids"]) + 1)):
        return f"events lost or doubled: {saw['ids']}"
    return saw["end"]


def rounds(name, binary, certificate, is_http2, down, count):
    """The line of a case, and whether all rounds went well."""
    seen = []
    with reserved_port() as port:
        backend = Backend(port)
        with in_front(name, port, binary, certificate) as (plain, tls):
            url = f"https://127.0.0.1:{tls}" if is_http2 else f"http://127.0.0.1:{plain}"
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            command = ["node", HERE / "restarts.mjs", url]
            with subprocess.Popen(command, cwd=HERE, **pipes, text=True, bufsize=1) as browser:
                try:
                    for _ in range(count):
                        print("next", file=browser.stdin)
                        protocol = json.loads(browser.stdout.readline())["protocol"]
                        assert protocol == ("h2" if is_http2 else "http/1.1"), protocol
                        backend.restart(down)
                        seen.append(json.loads(browser.stdout.readline()))
                    browser.stdin.close()
                finally:
                    if sys.exc_info()[0]:
                        browser.kill()
                    backend.kill()
    resumed = [saw["seconds"] for saw in seen if verdict(saw) == "resumed"]
    others = sorted({verdict(saw) for saw in seen} - {"resumed"})
    closed = sum(saw["end"] == "closed" for saw in seen)
    line = f"{name}, {'HTTP/2' if is_http2 else 'HTTP/1.1'}, down for {down} s"
    line += f": resumed {len(resumed)} of {count}, closed for good {closed}"
    if resumed:
        line += f", events again after {statistics.median(resumed):.2f} s (median; at most {max(resumed):.2f} s)"
    return f"{line}{''.join(f'; {other}' for other in others if other != 'closed')}", len(resumed) == count


def main():
    given = arguments(__doc__, ("--beside", {"nargs": "+", "choices": ("direct", *PEERS), "default": []}))
    count = QUICK_ROUNDS if given.quick else ROUNDS
    is_well = True
    with certificate() as files, ThreadPoolExecutor(2) as pool:
        tries = [
            (name, pool.submit(rounds, name, given.binary, files, is_http2, down, count))
            for name in ("sidestream", *given.beside)
            for down in DOWN
            for is_http2 in ((False,) if name == "direct" else (False, True))
        ]
        for name, tried in tries:
            line, all_resumed = tried.result()
            print(line, flush=True)
            is_well &= all_resumed or name != "sidestream"
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
