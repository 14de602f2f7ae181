"""A server for streams that are written byte by byte, and that end in any way there is."""

import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import wait_for

# How a stream ends: as its framing says, with a RST, or with a FIN where the last chunk should be.
ENDS = ("clean", "reset", "cut")


class Scripted(BaseHTTPRequestHandler):
    """Answers requests over HTTP/1.1; a subclass says with what."""

    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would hold an event until the one before has been acknowledged.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle(self):
        # A client that leaves is no mistake.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, body=b"", **fields):
        self.head(status, content_length=len(body), **fields)
        self.wfile.write(body)

    def head(self, status, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def stream(self, events, end):
        self.head(200, content_type="text/event-stream", cache_control="no-cache", transfer_encoding="chunked")
        for event in events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        getattr(self, end)()

    def clean(self):
        self.wfile.write(b"0\r\n\r\n")

    def stay(self):
        """It lasts until its client leaves."""
        self.rfile.read(1)
        self.close_connection = True

    def cut(self):
        self.close_connection = True

    def reset(self):
        def is_acknowledged():
            return struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))[0] == 0

        # What has not arrived yet would be lost with the connection.
        wait_for("the stream arrives", is_acknowledged)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        # Closed by the server it would be shut down before, which sends a FIN.
        os.close(self.connection.detach())


@contextlib.contextmanager
def serving(handler):
    """Serves on a port that the kernel gives, and yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
