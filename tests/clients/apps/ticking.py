"""Streams numbered events until it is killed, and goes on after the one that its client had last: ticking.py PORT

It listens when it reads a line, so that the time that Python takes to start is not one in which it is down.
"""

import itertools
import sys
import time
from http.server import ThreadingHTTPServer
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from scripted import Scripted  # noqa: E402


class Ticking(Scripted):
    def do_GET(self):
        if self.path == "/page":
            return self.answer(200, b"<!doctype html><title>A page</title>", content_type="text/html")
        last = int(self.headers.get("Last-Event-ID", 0))
        self.head(200, content_type="text/event-stream", cache_control="no-cache", transfer_encoding="chunked")
        for number in itertools.count(last + 1):
            event = b"id: %d\nretry: 300\ndata: %d\n\n" % (number, number)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(0.02)


print("ready", flush=True)
sys.stdin.readline()
with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Ticking) as server:
    print("serving", flush=True)
    server.serve_forever()
