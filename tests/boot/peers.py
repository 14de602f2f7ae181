"""Who the service talks to: a backend, a relay that speaks what the backend does not, a DNS server, and clients."""

import asyncio
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

sys.path.append(str(Path(__file__).parent.parent / "network"))
from scripted_dns import DnsServer

NAME = "backend.example"
LIMIT = 20.0
END = b"data: [DONE]\n\n"


class Answers(http.server.BaseHTTPRequestHandler):
    """?events=3&every=5: so many events, so many milliseconds apart."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        events, every = (int(query.get(key, [default])[0]) for key, default in (("events", "3"), ("every", "5")))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for n in range(events):
                self._chunk(f'data: {{"n":{n}}}\n\n'.encode())
                time.sleep(every / 1000)
            self._chunk(END)
            self._chunk(b"")
        except OSError:
            self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_: object) -> None:
        pass


class Backend(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def start_backend(port: int) -> None:
    server = Backend(("127.0.0.1", port), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def start_dns() -> None:
    """Answers at port 53 of this network that the backend's name is here."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))
    listener.setblocking(False)

    async def serve() -> None:
        await DnsServer({NAME: ["127.0.0.1"]}).listen(listener)
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()


def make_certificate(folder: Path) -> None:
    """cert.pem and key.pem, for the backend's name and this host."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)


class Relay:
    """Another sidestream, outside of the machine: it speaks TLS, HTTP/2 and over a unix socket to the service."""

    CONFIG = """\
listeners:
  - address: 127.0.0.1:8001
    tls: {certificate: FOLDER/cert.pem, key: FOLDER/key.pem}
  - address: 127.0.0.1:8002
  - address: unix:FOLDER/relay.sock
admin: {address: off}
access_log: off
upstreams: {backend: {servers: [http://127.0.0.1:8000]}}
"""

    def __init__(self, binary: str, folder: Path) -> None:
        (folder / "relay.yaml").write_text(self.CONFIG.replace("FOLDER", str(folder)))
        with (folder / "relay.log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary, "run", "--config", folder / "relay.yaml"], stdin=subprocess.DEVNULL, stderr=log
            )
        socket_file = folder / "relay.sock"
        end = time.monotonic() + LIMIT
        while not socket_file.exists() and time.monotonic() < end:
            time.sleep(0.02)
        # The service inside has another user.
        os.chmod(socket_file, 0o666)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def curl(url: str, *options: str) -> str:
    """What is wrong with the answer to this request; nothing, if it is a whole stream."""
    command = ["curl", "-sS", "-N", "--max-time", str(LIMIT), "-w", "%{stderr}%{http_code}", *options, url]
    done = subprocess.run(command, capture_output=True)
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0 and told == "200" and done.stdout.endswith(END):
        return ""
    return f"{' '.join(told.split())}, {done.stdout[-100:]!r}"


def get(port: int, path: str) -> str:
    """How a request of a connection of its own ends: `whole`, or what happened instead."""
    try:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
            client.settimeout(LIMIT)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while more := client.recv(65536):
                received += more
    except OSError as error:
        return type(error).__name__
    if not received.startswith(b"HTTP/1.1 200"):
        return received.partition(b"\r\n")[0].decode(errors="replace") or "closed without an answer"
    return "whole" if END in received else "cut off"


class Load:
    """Clients that ask again and again, each time over a new connection, for as long as the block lasts."""

    def __init__(self, path: str, clients: int = 8) -> None:
        self.outcomes: Counter[str] = Counter()
        self._path = path
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._is_over.is_set():
            self.outcomes[get(8080, self._path)] += 1

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()


class LongStream(threading.Thread):
    """A client of one long stream."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self._path, self.outcome = path, ""
        self.start()

    def run(self) -> None:
        self.outcome = get(8080, self._path)
