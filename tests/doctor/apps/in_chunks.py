"""A proxy that reads 8 KiB at a time: in_chunks.py PORT UPSTREAM"""

from relay import app, serve


async def chunks(response):
    async for chunk in response.aiter_bytes(chunk_size=8192):
        yield chunk


serve(app(chunks))
