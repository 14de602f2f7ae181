"""A chat on FastAPI that streams the answer of a model: MODEL=http://… uvicorn fastapi_app:app"""

import json
import os

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()
model = httpx.AsyncClient(base_url=os.environ["MODEL"], timeout=None)


class Chat(BaseModel):
    prompt: str


async def tokens(prompt):
    request = {"model": "any", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with model.stream("POST", "/v1/chat/completions", json=request) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                text = json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")
                if text:
                    yield f"data: {json.dumps({'token': text})}\n\n"
            elif line == "data: [DONE]":
                yield "data: [DONE]\n\n"


@app.post("/chat")
async def chat(chat: Chat):
    return StreamingResponse(tokens(chat.prompt), media_type="text/event-stream")


@app.get("/health")
async def health():
    return {"status": "ok"}
