"""A backend of HTTP/2 that breaks its responses in the way that the path names: /WHERE/HOW."""

import contextlib
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events

# A message of gRPC: no compression, its length, itself.
MESSAGE = b"\0\0\0\0\3one"
# How a response breaks off: silence, the end of its stream without trailers, that of its connection, or a code of RST_STREAM.
SILENT, ENDED, CLOSED = "silent", "ended", "closed"


class Broken:
    """Serves on a port that the kernel gives, until the test is over."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        # What was reset by the client: path and code. What came with each request: path and fields.
        self.resets, self.requests = [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http2.initiate_connection()
        paths = {}
        with connection, contextlib.suppress(OSError):
            connection.sendall(http2.data_to_send())
            while received := connection.recv(65536):
                for event in http2.receive_data(received):
                    if isinstance(event, h2.events.RequestReceived):
                        fields = {name.decode(): value.decode() for name, value in event.headers}
                        paths[event.stream_id] = fields[":path"]
                        self.requests.append(fields)
                        if self._answer(connection, http2, event.stream_id, fields[":path"]):
                            return
                    elif isinstance(event, h2.events.StreamReset):
                        self.resets.append((paths[event.stream_id], int(event.error_code)))
                connection.sendall(http2.data_to_send())

    def _answer(self, connection, http2, stream, path):
        """Breaks off; returns whether that took the connection."""
        _, where, how = path.split("/")
        if where != "head":
            http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            http2.send_data(stream, MESSAGE if where == "message" else MESSAGE[:6])
        connection.sendall(http2.data_to_send())
        if how == CLOSED:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        if how == ENDED:
            http2.end_stream(stream)
        elif how != SILENT:
            http2.reset_stream(stream, int(how))
        return False
