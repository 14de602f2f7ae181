"""A model server under uvicorn: model.py PORT NAME [--token SECONDS] [--batch STREAMS] [--slots STREAMS] [--prefill SECONDS]

Streams chat completions of as many tokens as are asked for. Beyond `--batch` streams at once all of them slow down, as they do when
a GPU is shared by too many. A conversation that it has seen before has no prefill.

With `--slots` it is a server that batches continuously and admits no more than fit (`--max-num-seqs` of vLLM, `--parallel` of
llama.cpp): so many requests have a slot, and all others wait inside the server, first come, first served. Prefills share its
compute: one runs at a time. So the time to first token is the wait for a slot, the wait for other prefills, and the prefill; the first
two are what a bad choice of server costs. The pace of tokens is the same however full the batch is, and a prefill does not stop the streams
that are generated: real ones slow down a little, which would blur what is compared.
"""

import argparse
import asyncio
import json
import time

import uvicorn

# As many as there may ever be.
UNBOUNDED = 10**9


class Model:
    def __init__(self, given):
        self.name, self.token, self.batch, self.prefill = given.name, given.token, given.batch, given.prefill
        self.active, self.most, self.seen, self.order = 0, 0, set(), []
        # How many requests it has had since when, waiting ones included.
        self.loads = []
        self.slots = asyncio.Semaphore(given.slots or UNBOUNDED)
        self.prefills = asyncio.Semaphore(1 if given.slots else UNBOUNDED)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"] != "/v1/chat/completions":
            return await self.answer(send)
        asked = json.loads(body)
        self.count(1)
        self.most = max(self.most, self.active)
        self.order.append(asked.get("number"))
        try:
            async with self.slots:
                await self.stream(asked, send)
        finally:
            self.count(-1)

    def count(self, more):
        self.active += more
        self.loads.append((time.monotonic(), self.active))

    async def live(self, receive, send):
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def answer(self, send):
        said = {"name": self.name, "active": self.active, "most": self.most, "order": self.order, "loads": self.loads}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def stream(self, asked, send):
        conversation = asked.get("conversation")
        is_hit = conversation in self.seen
        self.seen.add(conversation)
        async with self.prefills:
            await asyncio.sleep(self.prefill if not is_hit or conversation is None else self.prefill / 20)
        headers = [(b"content-type", b"text/event-stream"), (b"x-server", self.name.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(asked.get("tokens", 20)):
            if number:
                await asyncio.sleep(self.token * max(1, self.active / self.batch))
            chunk = {"choices": [{"index": 0, "delta": {"content": f" {number}"}, "finish_reason": None}]}
            await self.event(send, json.dumps(chunk))
        await self.event(send, '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
        await self.event(send, "[DONE]", more=False)

    async def event(self, send, data, more=True):
        await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": more})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--token", type=float, default=0.02)
    parser.add_argument("--batch", type=float, default=1e9)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--prefill", type=float, default=0)
    given = parser.parse_args()
    uvicorn.run(Model(given), port=given.port, log_level="warning", timeout_keep_alive=5)


if __name__ == "__main__":
    main()
