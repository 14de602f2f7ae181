"""MCP clients resume a call whose stream ended before its result, through sidestream as without it: resume.py

The server answers a call with an event that has an id and no data, ends the stream (cleanly, with a RST, without its last
chunk), and gives the result to whoever asks for what follows that id. The stream on which a client listens carries comments
and ends in the same way; its successor has a message.
"""

import asyncio
import itertools
import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from curl import PARTIAL, RESET, WHOLE, curl
from processes import HERE, LIMIT, Sidestream, wait_for
from scripted import ENDS, Scripted, serving

# Every key that has a default has it.
CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ mcp: {{ servers: ["{server}"] }} }}
"""
PRIMING = b"id: ev-1\nretry: 200\ndata: \n\n"
COMMENTS = [b": listening\n\n", b": still listening\n"]
RESUMED, HEARD = "resumed", "heard"


class Server(Scripted):
    """An MCP server over streamable HTTP. The path is /CLIENT/WAY/END: who asks, and how streams end."""

    # Of each path: the id of its call, and what was asked for how often.
    calls, asked = {}, {}

    def note(self, what):
        asked = self.asked.setdefault(self.path, Counter())
        asked[what] += 1
        return asked[what]

    def end(self):
        return self.path.rpartition("/")[2]

    def message(self, event_id, **members):
        data = json.dumps({"jsonrpc": "2.0", **members})
        return f"id: {event_id}\nevent: message\ndata: {data}\n\n".encode()

    def do_POST(self):
        call = json.loads(self.body())
        self.note(call["method"])
        if "id" not in call:
            return self.answer(202)
        if call["method"] == "tools/call":
            self.calls[self.path] = call["id"]
            return self.stream([PRIMING], self.end())
        tool = {"name": "work", "inputSchema": {"type": "object"}}
        results = {
            "initialize": {
                "protocolVersion": call.get("params", {}).get("protocolVersion"),
                "capabilities": {"tools": {}, "logging": {}},
                "serverInfo": {"name": "server", "version": "1"},
            },
            "tools/list": {"tools": [tool]},
        }
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": results[call["method"]]}).encode()
        self.answer(200, body, content_type="application/json", mcp_session_id="session")

    def do_GET(self):
        last = self.headers.get("Last-Event-ID")
        count = self.note(f"after {last}" if last else "listen")
        if last == "ev-1":
            result = {"content": [{"type": "text", "text": RESUMED}], "isError": False}
            return self.stream([self.message("ev-2", id=self.calls[self.path], result=result)], "clean")
        if count == 1:
            return self.stream(COMMENTS, self.end())
        message = {"method": "notifications/message", "params": {"level": "info", "data": HEARD}}
        self.stream([*COMMENTS, self.message("ev-9", **message)], "stay")

    def do_DELETE(self):
        self.answer(200)


def python(url):
    return asyncio.run(asyncio.wait_for(python_session(url), LIMIT))


async def python_session(url):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    heard = asyncio.get_running_loop().create_future()

    async def on_log(message):
        heard.set_result(message.data)

    async with (
        streamable_http_client(url) as (read, write),
        ClientSession(read, write, logging_callback=on_log) as session,
    ):
        await session.initialize()
        result = await session.call_tool("work", {})
        return result.content[0].text, await heard


def javascript(url):
    command = ["node", HERE / "resume.mjs", url]
    process = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT)
    assert process.returncode == 0, process.stderr
    return tuple(json.loads(process.stdout))


CLIENTS = {"mcp (Python)": python, "@modelcontextprotocol/sdk (JavaScript)": javascript}


def resumes(name, server, base, end):
    """A client makes its call and listens; both streams end, and it has the result and the message all the same."""
    path = f"/{name.split()[0]}/{'direct' if base == server else 'through'}/{end}"
    seen = CLIENTS[name](base + path)
    asked = Server.asked[path]
    where = f"{name} at {path}: {seen}, {asked}"
    assert seen == (RESUMED, HEARD), where
    assert asked["tools/call"] == 1 and asked["after ev-1"] == 1 and asked["listen"] == 2, where


def passes_as_it_is(server, proxy, end):
    """Nothing is added to either stream, and a broken one stays broken."""
    fields = ["-H", "Accept: application/json, text/event-stream", "-H", "MCP-Protocol-Version: 2025-11-25"]
    call = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "work"}})
    post = ["-H", "Content-Type: application/json", "-d", call]
    for name, arguments, events in (("call", post, [PRIMING]), ("listen", [], COMMENTS)):
        body = b"".join(events).decode()
        direct = curl(f"{server}/curl-{name}/direct/{end}", *fields, *arguments)
        through = curl(f"{proxy}/curl-{name}/through/{end}", *fields, *arguments)
        assert direct == (body, {"clean": WHOLE, "reset": RESET, "cut": PARTIAL}[end]), f"{name}, {end}: {direct}"
        assert through == (body, WHOLE if end == "clean" else PARTIAL), f"{name}, {end}: {through}"


def main():
    with serving(Server) as server, Sidestream(CONFIGURATION.format(server=server)) as proxy:
        with ThreadPoolExecutor(4) as pool:
            tries = itertools.product(CLIENTS, (server, proxy.url), ENDS)
            for tried in [pool.submit(resumes, name, server, base, end) for name, base, end in tries]:
                tried.result()
        for end in ENDS:
            passes_as_it_is(server, proxy.url, end)
        wait_for("every stream has ended", lambda: proxy.metric("sidestream_streams_active") == 0)
        assert proxy.metric("sidestream_error_events_total") == 0, "an error event was made up"
    print(f"{', '.join(CLIENTS)} and curl: {len(ENDS)} ends each, with and without sidestream")


if __name__ == "__main__":
    main()
