#!/usr/bin/env python3
"""Replaces a model server: answers every POST with a stream of chat completion chunks, one every 50 ms."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = "Streams that pass through a proxy arrive as they are generated, one event at a time.".split()


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for word in WORDS:
                self.send_event(chat_chunk({"content": word + " "}))
                time.sleep(0.05)
            self.send_event(chat_chunk({}, finish_reason="stop"))
            self.send_event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The client disconnected, so sidestream closed this connection.
            self.close_connection = True

    def send_event(self, data):
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))


def chat_chunk(delta, finish_reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "example", "choices": [choice]})


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(os.environ.get("PORT", 8000))), Model).serve_forever()
