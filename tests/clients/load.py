"""Clients of model servers: what one asks for and what it gets, and the load of many."""

import asyncio
import json
import time


class Answer:
    """What came of a request: its status, the times of its tokens, and whether it is whole."""

    def __init__(self):
        self.status, self.server, self.tokens, self.is_whole, self.is_error = None, None, [], False, False
        self.started, self.ended = time.monotonic(), None

    @property
    def is_good(self):
        return self.status == 200 and self.is_whole and not self.is_error

    @property
    def ttft(self):
        return self.tokens[0] - self.started if self.tokens else None


async def ask(port, tokens=20, fields="", **body):
    """Asks for a stream, and reads it to its end, which is when the connection is closed: the proxy knows of it then, too."""
    answer, text = Answer(), json.dumps({"stream": True, "tokens": tokens, **body})
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return answer
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}Content-Length: {len(text)}\r\n\r\n"
        writer.write(f"{head}{text}".encode())
        answer.status = int((await reader.readline()).split()[1])
        while line := (await reader.readline()).strip():
            if line.lower().startswith(b"x-server:"):
                answer.server = line.split()[1].decode()
        while line := await reader.readline():
            if line.startswith(b'data: {"choices"') and b'"content"' in line:
                answer.tokens.append(time.monotonic())
            answer.is_error |= line.startswith(b"event: error")
            if line.startswith(b"data: [DONE]"):
                answer.is_whole = True
    except (OSError, IndexError, ValueError):
        pass
    finally:
        writer.close()
        answer.ended = time.monotonic()
    return answer


def percentile(values, share):
    """In milliseconds."""
    return sorted(values)[int(len(values) * share)] * 1000


def percentiles(values):
    return f"p50 {percentile(values, 0.5):.0f} ms, p99 {percentile(values, 0.99):.0f} ms" if values else "none"


async def closed_load(port, clients, seconds, tokens, rng):
    """So many clients, each with one request after the other."""
    answered, end = [], time.monotonic() + seconds

    async def client():
        await asyncio.sleep(rng.random() * 0.5)
        while time.monotonic() < end:
            answered.append(await ask(port, tokens=tokens))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answered
