"""A proxy on http.server, which answers in HTTP/1.0 unless it is told otherwise: http10.py PORT UPSTREAM"""

import http.client
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, UPSTREAM = (int(argument) for argument in sys.argv[1:3])


class Relay(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        backend = http.client.HTTPConnection("127.0.0.1", UPSTREAM)
        backend.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "connection":
                backend.putheader(name, value)
        backend.endheaders(body)
        threading.Thread(target=self.end_with_client, args=[backend.sock], daemon=True).start()
        self.close_connection = True
        try:
            self.pass_on(backend.getresponse())
        except (OSError, http.client.HTTPException):
            pass
        finally:
            backend.close()

    do_POST = do_OPTIONS = do_GET

    def pass_on(self, response):
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        while chunk := response.read1(65536):
            self.wfile.write(chunk)

    def end_with_client(self, backend):
        try:
            self.connection.recv(1, socket.MSG_PEEK)
            backend.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Relay).serve_forever()
