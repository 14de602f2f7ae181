"""A FastAPI backend as in a usual tutorial. It speaks what the clients speak, and misbehaves as the model's name asks for."""

import asyncio
import json
import os
import signal
import sys

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

app = FastAPI()
acknowledged = asyncio.Semaphore(0)

WORDS = ["Streams ", "are ", "made ", "of ", "events."]
# Several heartbeats long, and short of every timeout.
SILENCE = 0.7
LIMIT = 30


async def play(case, before, words, after):
    """The events of an answer in the manner of this case: what comes before its words, the words, what comes after them."""
    try:
        if case == "silence_before":
            await asyncio.sleep(SILENCE)
        for event in before:
            yield event
        for number, word in enumerate(words):
            if number == 2 and case == "stalled":
                await asyncio.sleep(3600)
            if number == 2 and case == "truncated":
                return
            if number == 2 and case == "killed":
                yield word[: len(word) // 2]
                await asyncio.sleep(0.05)
                os.kill(os.getpid(), signal.SIGKILL)
            yield word
            if case == "complete":
                # Buffered on the way, the word is never acknowledged.
                await asyncio.wait_for(acknowledged.acquire(), LIMIT)
            if case == "silence_between" and number < 2:
                await asyncio.sleep(SILENCE)
            if case == "cancelled":
                await asyncio.sleep(0.02)
        for event in after:
            yield event
    except asyncio.CancelledError:
        print(f"{case}: generator cancelled", file=sys.stderr, flush=True)
        raise


async def stream(case, before, words, after, media_type="text/event-stream", headers=None):
    if case == "cancelled":
        words = words * 1000
    if case == "early":
        await asyncio.sleep(SILENCE)
    return StreamingResponse(play(case, before, words, after), media_type=media_type, headers=headers)


def event(number, data, name=None):
    """An event; without a number it has no id."""
    lines = ("" if number is None else f"id: {number}\n") + (f"event: {name}\n" if name else "")
    return f"{lines}data: {json.dumps(data)}\n\n"


def chat_events():
    def chunk(number, delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        data = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        return event(number, data)

    words = [chunk(number, {"content": word}) for number, word in enumerate(WORDS, 1)]
    return [chunk(0, {"role": "assistant"})], words, [chunk(9, {}, "stop"), "data: [DONE]\n\n"]


@app.post("/v1/chat/completions")
async def chat(request: Request):
    return await stream((await request.json())["model"], *chat_events())


@app.get("/events")
async def events(case: str):
    return await stream(case, *chat_events())


@app.post("/v1/messages")
async def messages(request: Request):
    case = (await request.json())["model"]
    message = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    before = [{"type": "message_start", "message": message}, block]
    words = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS
    ]
    after = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    numbered = [[event(n, data, data["type"]) for n, data in enumerate(part)] for part in (before, words, after)]
    return await stream(case, *numbered)


@app.post("/api/chat")
async def ollama(request: Request):
    case = (await request.json())["model"]

    def line(content, done=False):
        message = {"role": "assistant", "content": content}
        return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}) + "\n"

    words = [line(word) for word in WORDS]
    return await stream(case, [], words, [line("", done=True)], "application/x-ndjson")


@app.post("/v2/chat")
async def cohere(request: Request):
    case = (await request.json())["model"]
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}

    def content(data):
        return {"message": {"content": data}}

    before = [
        {"type": "message-start", "id": "m", "delta": {"message": message}},
        {"type": "content-start", "index": 0, "delta": content({"type": "text", "text": ""})},
    ]
    words = [{"type": "content-delta", "index": 0, "delta": content({"text": word})} for word in WORDS]
    tokens = {"input_tokens": 1, "output_tokens": 5}
    usage = {"billed_units": tokens, "tokens": tokens}
    after = [
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    numbered = [[event(n, data, data["type"]) for n, data in enumerate(part)] for part in (before, words, after)]
    return await stream(case, *numbered)


@app.post("/v1/models/{case}:streamGenerateContent")
async def gemini(case: str):
    # Google's clients take every line for JSON that is neither blank nor data, so there is no `id` and no name.
    def chunk(word, **more):
        candidate = {"content": {"parts": [{"text": word}], "role": "model"}, "index": 0, **more}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 5, "totalTokenCount": 6}
        return f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': usage, 'modelVersion': 'm'})}\n\n"

    return await stream(case, [], [chunk(word) for word in WORDS], [chunk("", finishReason="STOP")])


@app.post("/ag-ui")
async def ag_ui(request: Request):
    run = await request.json()
    ids = {"threadId": run["threadId"], "runId": run["runId"]}
    before = [
        {"type": "RUN_STARTED", **ids},
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    ]
    words = [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": word} for word in WORDS]
    after = [{"type": "TEXT_MESSAGE_END", "messageId": "m"}, {"type": "RUN_FINISHED", **ids}]
    numbered = [[event(n, data) for n, data in enumerate(part)] for part in (before, words, after)]
    return await stream(run["threadId"], *numbered)


@app.post("/ui-messages")
async def ui_messages(request: Request):
    before = [{"type": "start", "messageId": "m"}, {"type": "start-step"}, {"type": "text-start", "id": "0"}]
    words = [{"type": "text-delta", "id": "0", "delta": word} for word in WORDS]
    after = [{"type": "text-end", "id": "0"}, {"type": "finish-step"}, {"type": "finish", "finishReason": "stop"}]
    before, words, after = [[event(n, data) for n, data in enumerate(part)] for part in (before, words, after)]
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    return await stream((await request.json())["case"], before, words, [*after, "data: [DONE]\n\n"], headers=headers)


@app.post("/a2a")
async def a2a(request: Request):
    call = await request.json()
    # Version 1.0 of the protocol; 0.3 calls it `message/stream`, and says of each object what kind it is.
    current = call["method"] == "SendStreamingMessage"
    task = {"taskId": "t", "contextId": "c"}

    def answer(number, member, kind, result):
        result = {member: result} if current else {"kind": kind, **result}
        return event(number, {"jsonrpc": "2.0", "id": call["id"], "result": result})

    def update(number, word):
        part = {"text": word} if current else {"kind": "text", "text": word}
        artifact = {"artifactId": "a", "parts": [part]}
        return answer(number, "artifactUpdate", "artifact-update", {**task, "artifact": artifact, "append": number > 1})

    def status(state):
        return {"status": {"state": f"TASK_STATE_{state.upper()}" if current else state}}

    before = [answer(0, "task", "task", {"id": "t", "contextId": "c", **status("working")})]
    words = [update(number, word) for number, word in enumerate(WORDS, 1)]
    final = {**task, **status("completed"), **({} if current else {"final": True})}
    after = [answer(9, "statusUpdate", "status-update", final)]
    return await stream(call["params"]["message"]["parts"][0]["text"], before, words, after)


@app.post("/mcp")
async def mcp(request: Request):
    call = await request.json()
    if "id" not in call:
        return Response(status_code=202)

    def answer(result):
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}

    if call["method"] == "initialize":
        version = call["params"]["protocolVersion"]
        server = {"name": "s", "version": "1"}
        return JSONResponse(answer({"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}))
    if call["method"] == "tools/list":
        return JSONResponse(answer({"tools": []}))
    params = call["params"]

    def progress(number, word):
        token = params["_meta"]["progressToken"]
        what = {"progressToken": token, "progress": number, "message": word}
        # Clients resume a stream whose events have ids, so nothing is made up for it where it breaks.
        is_broken = params["name"] in ("stalled", "truncated", "killed")
        data = {"jsonrpc": "2.0", "method": "notifications/progress", "params": what}
        return event(None if is_broken else number, data, "message")

    words = [progress(number, word) for number, word in enumerate(WORDS, 1)]
    result = answer({"content": [{"type": "text", "text": "done"}], "isError": False})
    return await stream(params["name"], [], words, [event(9, result, "message")])


@app.get("/ack")
async def acknowledge():
    acknowledged.release()
    return Response(status_code=204)


@app.get("/page")
async def page():
    return HTMLResponse("<!doctype html><title>page</title>")
