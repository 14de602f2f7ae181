"""What the proxies on httpx have in common: a request is passed on as it came, and ends when its client leaves."""

import asyncio
import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

PORT, UPSTREAM = (int(argument) for argument in sys.argv[1:3])

# Of the connection, and not of what goes over it.
OF_THE_CONNECTION = {"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}

client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))


def whole(fields):
    return [(name, value) for name, value in fields if name.lower() not in OF_THE_CONNECTION]


async def left(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass


def app(chunks, passes=lambda name: True):
    """A proxy that passes on these fields of requests, and `chunks(response)` as the body of a response."""

    async def relay(request: Request):
        onward = client.build_request(
            request.method,
            f"http://127.0.0.1:{UPSTREAM}{request.url.path}?{request.url.query}",
            headers=[(name, value) for name, value in whole(request.headers.items()) if passes(name)],
            content=await request.body(),
        )
        asked = asyncio.create_task(client.send(onward, stream=True))
        gone = asyncio.create_task(left(request))
        await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not asked.done():
            asked.cancel()
            return Response(status_code=499)
        response = await asked

        async def body():
            try:
                async for chunk in chunks(response):
                    yield chunk
            finally:
                await response.aclose()

        answer = StreamingResponse(body(), response.status_code)
        answer.raw_headers = [(name.lower().encode(), value.encode()) for name, value in whole(response.headers.items())]
        return answer

    proxy = FastAPI()
    proxy.add_api_route("/{path:path}", relay, methods=["GET", "POST", "OPTIONS"], response_model=None)
    return proxy


def serve(proxy):
    uvicorn.run(proxy, host="127.0.0.1", port=PORT, log_level="critical")
