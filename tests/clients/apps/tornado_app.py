"""An application on Tornado that streams tokens, served by two workers, each of which is replaced when it dies."""

import asyncio
import json
import os

import tornado.netutil
import tornado.process
import tornado.web
from tornado.httpserver import HTTPServer

WORDS = ["Streams ", "are ", "made ", "of ", "events."]


def token(text):
    return f"data: {json.dumps({'token': text}, separators=(',', ':'))}\n\n"


class Tokens(tornado.web.RequestHandler):
    async def get(self, case):
        self.set_header("Content-Type", "text/event-stream")
        for number, word in enumerate(WORDS):
            if number == 2 and case == "raises":
                raise RuntimeError("the model is gone")
            if number == 2 and case == "killed":
                # Whoever reads this kills the worker, which has half an event on the wire.
                self.write(token(str(os.getpid())) + token(word)[:14])
                await self.flush()
                await asyncio.sleep(3600)
            self.write(token(word))
            await self.flush()
        self.write("data: [DONE]\n\n")


async def serve(sockets):
    server = HTTPServer(tornado.web.Application([("/.*?([a-z]+)", Tokens)]))
    server.add_sockets(sockets)
    await asyncio.Event().wait()


sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
print(f"serving 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
tornado.process.fork_processes(2)
asyncio.run(serve(sockets))
