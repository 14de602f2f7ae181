"""Groups of servers under load, beside nginx and HAProxy: groups.py [--quick] [--only SCENARIO...]

kill      three uvicorn servers with 200 streams, one is killed: only its streams end, and no new request fails
rolling   each of three servers is restarted under 20 requests/s: every answer is a whole one
unlike    one of four servers is three times as slow: time to first token, and the largest share
limit     one server with room for 16 streams and 64 clients: with and without `max_streams` and a queue
affinity  200 conversations of 10 turns over four servers: share of turns on the server of the turn before
"""

import asyncio
import contextlib
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

from processes import PYTHON, HERE, Process, Sidestream, arguments, reserved_port, wait_for

CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams: {{ llm: {{ servers: [{servers}], {keys} }} }}
"""
NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream llm {{ {balance} {servers} keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://llm; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout queue 30s
  option http-no-delay
listen llm
  bind 127.0.0.1:{port}
  balance {balance}
  option redispatch
  {servers}
"""


class Server:
    """A model server that can be killed, and come back on its port."""

    def __init__(self, port, name, *options):
        self.port, self.name, self.options = port, name, options
        self.start()

    def start(self):
        self.process = Process(PYTHON, HERE / "apps/model.py", str(self.port), self.name, *self.options)
        wait_for("the server serves", lambda: answers(self.port))

    def stop(self, how=signal.SIGTERM):
        self.process.process.send_signal(how)
        self.process.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__()


def answers(port):
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def servers(*options):
    """Model servers, one for each of these lists of options."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(reserved_port()) for _ in options]
        yield [stack.enter_context(Server(port, f"s{n}", *given)) for n, (port, given) in enumerate(zip(ports, options))]


@contextlib.contextmanager
def sidestream(group, binary, keys=""):
    urls = ", ".join(f"'http://127.0.0.1:{server.port}'" for server in group)
    with Sidestream(CONFIGURATION.format(servers=urls, keys=keys), binary) as proxy:
        proxy.port = proxy.ports(1)[0]
        yield proxy


@contextlib.contextmanager
def other(program, group, balance):
    """nginx or HAProxy in front of the same servers; None where it is not installed."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:
        if not found:
            yield None
            return
        if program == "nginx":
            lines = " ".join(f"server 127.0.0.1:{server.port};" for server in group)
            text = NGINX.format(folder=folder, port=port, balance=balance, servers=lines)
            command = [found, "-c", f"{folder}/conf", "-p", folder]
        else:
            lines = "\n  ".join(f"server {server.name} 127.0.0.1:{server.port} check inter 2s" for server in group)
            text = HAPROXY.format(port=port, balance=balance, servers=lines)
            command = [found, "-db", "-f", f"{folder}/conf"]
        with open(f"{folder}/conf", "w") as file:
            file.write(text)
        with Process(*command) as process:
            wait_for(program, lambda: answers(port))
            process.port = port
            yield process


class Answer:
    """What came of a request: its status, the times of its tokens, and whether it is whole."""

    def __init__(self):
        self.status, self.server, self.tokens, self.is_whole, self.is_error, self.started = None, None, [], False, False, time.monotonic()

    @property
    def is_good(self):
        return self.status == 200 and self.is_whole and not self.is_error

    @property
    def ttft(self):
        return self.tokens[0] - self.started if self.tokens else None


async def ask(port, tokens=20, fields="", **body):
    """Asks for a stream, and reads it to its end."""
    answer, text = Answer(), json.dumps({"stream": True, "tokens": tokens, **body})
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return answer
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {len(text)}\r\n\r\n"
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
                break
    except (OSError, IndexError, ValueError):
        pass
    finally:
        writer.close()
    return answer


def percentiles(values):
    values = sorted(values)
    if not values:
        return "none"
    return f"p50 {values[len(values) // 2] * 1000:.0f} ms, p99 {values[int(len(values) * 0.99)] * 1000:.0f} ms"


async def kill(port, group, quick):
    streams = 30 if quick else 200
    running = [asyncio.create_task(ask(port, tokens=150)) for _ in range(streams)]
    await asyncio.sleep(1.5)
    group[0].stop(signal.SIGKILL)
    later = []
    for _ in range(20 if quick else 100):
        later.append(asyncio.create_task(ask(port, tokens=5)))
        await asyncio.sleep(0.02)
    running, later = await asyncio.gather(*running), await asyncio.gather(*later)
    broken = [answer for answer in running if not answer.is_good]
    told = sum(answer.is_error for answer in broken)
    ended_else = sum(answer.server != "s0" for answer in broken)
    failed = sum(not answer.is_good for answer in later)
    print(f"{len(broken)} of {streams} streams ended ({told} with an error event, {ended_else} of other servers), {failed} of {len(later)} new requests failed")
    return ended_else == 0 and failed == 0 and told == len(broken)


async def rolling(port, group, quick):
    rate, tasks, is_over = 20, [], False

    async def load():
        while not is_over:
            tasks.append(asyncio.create_task(ask(port, tokens=10)))
            await asyncio.sleep(1 / rate)

    loading = asyncio.create_task(load())
    for server in group[:1] if quick else group:
        await asyncio.sleep(1)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(1)
    is_over = True
    await loading
    answered = await asyncio.gather(*tasks)
    bad = [answer.status for answer in answered if not answer.is_good]
    print(f"{len(bad)} of {len(answered)} answers were not whole ones{f': {bad}' if bad else ''}")
    return not bad


async def closed_load(port, clients, seconds, tokens, rng):
    """So many clients, each with one request after the other."""
    answered, end = [], time.monotonic() + seconds

    async def client():
        await asyncio.sleep(rng.random() * 0.5)
        while time.monotonic() < end:
            answered.append(await ask(port, tokens=tokens))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answered


async def unlike(port, group, quick):
    answered = await closed_load(port, 24, 3 if quick else 12, 20, random.Random(1))
    shares = [sum(answer.server == server.name for answer in answered) for server in group]
    ttft = percentiles([answer.ttft for answer in answered if answer.ttft])
    print(f"{len(answered)} answers; time to first token {ttft}; requests by server {shares}")
    return all(answer.is_good for answer in answered)


async def limit(port, group, quick):
    answered = await closed_load(port, 64, 4 if quick else 15, 20, random.Random(1))
    ttft = percentiles([answer.ttft for answer in answered if answer.ttft])
    rates = [(len(a.tokens) - 1) / (a.tokens[-1] - a.tokens[0]) for a in answered if len(a.tokens) > 1]
    total = sum(len(answer.tokens) for answer in answered) / (4 if quick else 15)
    print(f"{len(answered)} answers; first token {ttft}; {statistics.median(rates):.1f} tokens/s a stream, {total:.0f} in all")
    return all(answer.is_good for answer in answered)


async def affinity(port, group, quick, fields=True):
    """Conversations whose turns follow each other, and one that is three of ten requests."""
    conversations, turns, stays, total, hot, count = 40 if quick else 200, 10, 0, 0, [], 0
    running = asyncio.Semaphore(40)

    async def turn(conversation):
        async with running:
            head = f"X-Session-Id: {conversation}\r\n" if fields else ""
            return await ask(port, tokens=5, fields=head, conversation=conversation)

    async def converse(conversation):
        nonlocal stays, total, count
        before = None
        for _ in range(turns):
            answer = await turn(conversation)
            count += 1
            if before is not None:
                total += 1
                stays += answer.server == before
            before = answer.server

    async def hot_one():
        while any(not task.done() for task in tasks):
            hot.append(await turn("hot"))

    tasks = [asyncio.create_task(converse(f"c{n}")) for n in range(conversations)]
    hots = [asyncio.create_task(hot_one()) for _ in range(17)]
    await asyncio.gather(*tasks, *hots)
    by_server = {server.name: sum(answer.server == server.name for answer in hot) for server in group}
    print(f"{stays / total:.1%} of turns on the server of the turn before; of the hot conversation's {len(hot)}: {by_server}")
    return True


QUEUE = "max_streams: 100, queue: { size: 200 }"
SLOW = ["--token", "0.06"]
HASH = "balance: hash, hash: { key: header:x-session-id }"
# Options of the servers; what is run; keys of sidestream, or another program and how it balances.
SCENARIOS = {
    "kill": ([[]] * 3, kill, [("sidestream", ""), ("nginx", "least_conn;"), ("haproxy", "leastconn")]),
    "rolling": ([[]] * 3, rolling, [("sidestream", QUEUE), ("nginx", "least_conn;"), ("haproxy", "leastconn")]),
    "unlike": (
        [[], [], [], SLOW],
        unlike,
        [("sidestream", "max_streams: 100"), ("haproxy", "leastconn"), ("nginx", ""), ("nginx", "least_conn;")],
    ),
    "limit": ([["--batch", "16"]], limit, [("sidestream", "max_streams: 16, queue: { size: 100 }"), ("sidestream", "")]),
    "affinity": (
        [["--prefill", "0.2"]] * 4,
        affinity,
        [("sidestream", HASH), ("sidestream", "balance: round_robin"), ("sidestream", "balance: least_streams")],
    ),
}


def main():
    given = arguments(__doc__, ("--only", {"nargs": "*", "default": list(SCENARIOS)}))
    is_well = True
    for name in given.only:
        options, run, contenders = SCENARIOS[name]
        for program, how in contenders:
            if given.quick and (program != "sidestream" or name not in ("kill", "rolling")):
                continue
            with servers(*options) as group:
                proxy = sidestream(group, given.binary, how) if program == "sidestream" else other(program, group, how)
                with proxy as running:
                    print(f"{name}, {program} {how}: ", end="", flush=True)
                    if running is None:
                        print("not installed")
                        continue
                    result = asyncio.run(run(running.port, group, given.quick))
                    is_well &= result or program != "sidestream"
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
