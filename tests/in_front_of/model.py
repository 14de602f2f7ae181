"""A scripted model: the driver decides each event of its answers, which are chat completions."""

import json
import queue
import select
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "clients"))
from processes import LIMIT  # noqa: E402
from scripted import Scripted, serving  # noqa: E402


class Call:
    """One request to the model, while it runs."""

    def __init__(self, handler):
        self._handler = handler
        self.over = threading.Event()

    def begin(self):
        self._handler.head(
            200, content_type="text/event-stream", cache_control="no-cache", transfer_encoding="chunked"
        )

    def _write(self, event):
        event = f"data: {event}\n\n".encode()
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def _choice(self, delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "any"}
        self._write(json.dumps(chunk | {"choices": [choice]}))

    def say(self, text):
        self._choice({"role": "assistant", "content": text})

    def finish(self):
        self._choice({}, "stop")
        self._write("[DONE]")
        self.end_early()

    def end_early(self):
        """A clean end of the response, whether or not the answer has ended."""
        self._handler.clean()
        self._leave()

    def cut(self):
        """The connection ends without the last chunk."""
        self._handler.cut()
        self._leave()

    def _leave(self):
        self._handler.close_connection = True
        self.over.set()

    def closed_by_caller(self):
        """Waits until the caller closes its connection. Returns how many seconds that took."""
        began = time.monotonic()
        readable, _, _ = select.select([self._handler.connection], [], [], LIMIT)
        assert readable, f"the caller did not close its connection to the model within {LIMIT} s"
        try:
            said = self._handler.connection.recv(1)
        except ConnectionError:
            said = b""
        assert said == b"", f"the caller sends {said!r} and does not close its connection"
        self._leave()
        return time.monotonic() - began


class Model:
    """The model's server. Calls are handed out in the order in which they arrive."""

    def __init__(self):
        self._calls = calls = queue.Queue()

        class Answers(Scripted):
            def do_POST(self):
                self.body()
                call = Call(self)
                calls.put(call)
                call.over.wait()

            def do_GET(self):
                self.answer(200, b'{"object":"list","data":[]}', content_type="application/json")

        self._serving = serving(Answers)

    def __enter__(self):
        self.url = self._serving.__enter__()
        return self

    def __exit__(self, *failure):
        while not self._calls.empty():
            self._calls.get().over.set()
        return self._serving.__exit__(*failure)

    def call(self):
        return self._calls.get(timeout=LIMIT)
