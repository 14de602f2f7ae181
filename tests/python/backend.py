"""The FastAPI backend of a usual tutorial: it streams, and knows nothing of proxies."""

import asyncio
import json
import os
import sys

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
GAP = 0.1
WORDS = ["Streams ", "are ", "made ", "of ", "events."]


def log(text):
    print(text, file=sys.stderr, flush=True)


async def paced(events, name, die_after=None):
    try:
        for number, event in enumerate(events):
            if number == die_after:
                os._exit(1)  # as a GPU process does that runs out of memory
            yield event
            await asyncio.sleep(GAP)
    except asyncio.CancelledError:
        log(f"{name}: generator cancelled")
        raise
    log(f"{name}: generator finished")


def die_after(request):
    return 3 if request.headers.get("x-die") else None


@app.post("/v1/chat/completions")
async def chat(request: Request):
    body = await request.json()
    words = WORDS * body.get("max_tokens", 1)

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        data = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(data)}\n\n"

    events = [chunk({"content": word}) for word in words] + [chunk({}, "stop"), "data: [DONE]\n\n"]
    return StreamingResponse(paced(events, "chat", die_after(request)), media_type="text/event-stream")


@app.post("/v1/messages")
async def messages(request: Request):
    body = await request.json()
    message = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events = [{"type": "message_start", "message": message}]
    events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in WORDS * body["max_tokens"]:
        events.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
    events.append({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return StreamingResponse(paced(lines, "messages", die_after(request)), media_type="text/event-stream")
