"""Groups of servers under load, beside nginx and HAProxy: groups.py [--quick] [--only SCENARIO...]

kill      three uvicorn servers with 200 streams, one is killed: only its streams end, and no new request fails
rolling   each of three servers is restarted under 20 requests/s: every answer is a whole one
unlike-closed, unlike-open
          one of four servers takes three times as long for a token, load of 80 %: time to first token, and imbalance (unlike.py)
limit     one server with room for 16 streams and 64 clients: with and without `max_streams` and a queue
affinity  200 conversations of 10 turns over four servers: share of turns on the server of the turn before
"""

import asyncio
import random
import signal
import statistics
import sys

from load import ask, closed_load, percentiles
from processes import arguments
from proxies import other, servers, sidestream
from unlike import unlike


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
HASH = "balance: hash, hash: { key: header:x-session-id }"
# Options of the servers; what is run; keys of sidestream, or another program and how it balances.
SCENARIOS = {
    "kill": ([[]] * 3, kill, [("sidestream", ""), ("nginx", "least_conn;"), ("haproxy", "leastconn")]),
    "rolling": ([[]] * 3, rolling, [("sidestream", QUEUE), ("nginx", "least_conn;"), ("haproxy", "leastconn")]),
    "limit": ([["--batch", "16"]], limit, [("sidestream", "max_streams: 16, queue: { size: 100 }"), ("sidestream", "")]),
    "affinity": (
        [["--prefill", "0.2"]] * 4,
        affinity,
        [("sidestream", HASH), ("sidestream", "balance: round_robin"), ("sidestream", "balance: least_streams")],
    ),
}


def main():
    given = arguments(__doc__, ("--only", {"nargs": "*", "default": [*SCENARIOS, "unlike-closed", "unlike-open"]}))
    is_well = True
    for name in given.only:
        if name.startswith("unlike-"):
            is_well &= unlike(given.binary, name.removeprefix("unlike-"), given.quick)
            continue
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
