"""Servers that are unlike, under load: three of four take 20 ms for a token, the last one 60 ms.

Each has 8 slots and prefills one request after another, 100 ms each (apps/model.py). Answers have 50 to 150 tokens. Proxies take turns,
round by round, each with new servers and the same answers to ask for. There are two loads of 80 %:

closed  of all slots: of 32 slots, 26 clients, each with its next request as soon as it has the end of its last one. There are
        never more requests than slots, so whoever has to wait for a slot has been sent to the wrong server.
open    of the answers that all servers together can give in a second, whose arrivals are random (Poisson) and wait for nobody. Now
        and then there are more requests than slots, and it counts where those wait.

The servers write down how many requests they have had since when, waiting ones included. The imbalance is the difference between the
most and the least of them at a time.
"""

import asyncio
import contextlib
import json
import random
import time
import urllib.request

from load import ask, percentile
from proxies import other, servers, sidestream

SLOTS, SERVERS, PREFILL = 8, 4, 0.1
PACES = [0.02, 0.02, 0.02, 0.06]
TOKENS = (50, 150)
CLIENTS = round(0.8 * SLOTS * SERVERS)
# Answers per second that all servers can give: a request has its slot for its prefill and its tokens.
CAPACITY = sum(SLOTS / (PREFILL + (sum(TOKENS) / 2 - 1) * pace) for pace in PACES)
WARM_UP, SECONDS, ROUNDS = 6, 20, 3

# What the table calls it, the program, and how it is set up.
SIDESTREAM = ("sidestream", "sidestream", [""])
SIDESTREAM_QUEUE = ("sidestream, `max_streams: 8` and a queue", "sidestream", ["max_streams: 8, queue: { size: 100 }"])
HAPROXY = ("HAProxy `leastconn`", "haproxy", ["leastconn"])
HAPROXY_QUEUE = ("HAProxy `leastconn`, `maxconn 8`", "haproxy", ["leastconn", "maxconn 8"])
NGINX = ("nginx `least_conn`", "nginx", ["least_conn;"])
NGINX_ROUND_ROBIN = ("nginx round robin", "nginx", [""])


class Round:
    """What came of a proxy's turn, between two points in time."""

    def __init__(self, answered, loads, begin, end):
        # Those that ended meanwhile, whenever they began: the slow ones among them too.
        self.answered = [answer for answer in answered if begin <= answer.ended < end]
        self.bad = sum(not answer.is_good for answer in self.answered)
        self.ttfts = [answer.ttft for answer in self.answered if answer.ttft]
        self.largest, self.mean = imbalance(loads, begin, end)


def imbalance(loads, begin, end):
    """The largest difference between the loads of servers, and its mean over the time."""
    changes = [(at, server, load) for server, history in enumerate(loads) for at, load in history if at < end]
    changes.sort(key=lambda change: change[0])
    now, since, largest, sum_over_time = [0] * len(loads), begin, 0, 0
    for at, server, load in [*changes, (end, 0, 0)]:
        if at > since:
            difference = max(now) - min(now)
            largest, sum_over_time, since = max(largest, difference), sum_over_time + difference * (at - since), at
        now[server] = load
    return largest, sum_over_time / (end - begin)


async def closed_load(port, seed, answered):
    async def client(rng):
        await asyncio.sleep(rng.random() * 0.5)
        while True:
            answered.append(await ask(port, tokens=rng.randint(*TOKENS)))

    await asyncio.gather(*(client(random.Random(f"{seed}/{number}")) for number in range(CLIENTS)))


async def open_load(port, seed, answered):
    rng, due, tasks = random.Random(seed), time.monotonic(), asyncio.TaskGroup()

    async def client(tokens):
        answered.append(await ask(port, tokens=tokens))

    async with tasks:
        while True:
            due += rng.expovariate(0.8 * CAPACITY)
            await asyncio.sleep(due - time.monotonic())
            tasks.create_task(client(rng.randint(*TOKENS)))


async def measure(port, group, load, seed, warm_up, seconds):
    answered, begin = [], time.monotonic() + warm_up
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(load(port, seed, answered), warm_up + seconds)
    loads = [await asyncio.to_thread(loads_of, server) for server in group]
    return Round(answered, loads, begin, begin + seconds)


def loads_of(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as told:
        return json.load(told)["loads"]


def take_turn(binary, program, how, load, seed, *times):
    """None where the program is not installed."""
    options = [["--slots", str(SLOTS), "--prefill", str(PREFILL), "--token", str(pace)] for pace in PACES]
    with servers(*options) as group:
        proxy = sidestream(group, binary, *how) if program == "sidestream" else other(program, group, *how)
        with proxy as running:
            return running and asyncio.run(measure(running.port, group, load, seed, *times))


def row(name, rounds):
    ttfts = [ttft for one in rounds for ttft in one.ttfts]
    p99s = [percentile(one.ttfts, 0.99) for one in rounds]
    answered = [answer for one in rounds for answer in one.answered]
    shares = [sum(answer.server == f"s{number}" for answer in answered) / len(answered) for number in range(SERVERS)]
    cells = [
        name,
        f"{percentile(ttfts, 0.5):.0f}, {percentile(ttfts, 0.99):.0f} ms ({min(p99s):.0f} to {max(p99s):.0f})",
        f"{len(answered)}, {sum(one.bad for one in rounds)}",
        ", ".join(f"{share:.0%}" for share in shares),
        f"{max(one.largest for one in rounds)}, {sum(one.mean for one in rounds) / len(rounds):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


LOADS = {
    "closed": (
        f"{CLIENTS} clients",
        closed_load,
        [SIDESTREAM, SIDESTREAM_QUEUE, HAPROXY, NGINX, NGINX_ROUND_ROBIN],
    ),
    "open": (
        f"{0.8 * CAPACITY:.1f} requests/s",
        open_load,
        [SIDESTREAM, SIDESTREAM_QUEUE, HAPROXY, HAPROXY_QUEUE, NGINX],
    ),
}


def unlike(binary, kind, quick):
    """Prints the table of a load, and says whether all answers through sidestream were whole ones."""
    what, load, contenders = LOADS[kind]
    if quick:
        contenders = [SIDESTREAM_QUEUE]
    rounds, times = (1, (1, 3)) if quick else (ROUNDS, (WARM_UP, SECONDS))
    results = {name: [] for name, *_ in contenders}
    for seed in range(rounds):
        for name, program, how in contenders:
            results[name].append(take_turn(binary, program, how, load, seed, *times))
    print(f"unlike-{kind}: {what}, {SERVERS} servers of {SLOTS} slots, {rounds} rounds of {times[1]} s")
    print("| | TTFT p50, p99 (p99 of each round) | answers, those that failed | by server, the slow one last | imbalance: largest, mean |")
    print("|---|---|---|---|---|")
    for name, result in results.items():
        print(row(name, result) if all(result) else f"| {name} | not installed | | | |")
    return not any(one.bad for name, program, _ in contenders if program == "sidestream" for one in results[name])
