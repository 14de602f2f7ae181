"""Requests while names cannot be looked up, or move."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial

from backend import EVENT
from dns_stage import NAME, NEW, DnsCase, DnsStage, Options, Seen
from scripted_dns import Mode

PACE = 0.5
# In which connections that nobody uses any more are closed.
MOMENT = 1.0
# Failures that say something else than that a name was not found.
OTHER_FAILURES = ("upstream_connect_timeout", "upstream_connect_failed")


@dataclass(frozen=True)
class Answer:
    sent: float
    seconds: float
    status: int | None
    body: str


async def _answer(stage: DnsStage, path: str = "/") -> Answer:
    exchange = await stage.send(path)
    # Until its end, which the client has asked for.
    await exchange.until(rb"(?!)")
    exchange.close()
    return Answer(exchange.sent, time.monotonic() - exchange.sent, exchange.status, exchange.body)


async def _answers(stage: DnsStage, seconds: float) -> list[Answer]:
    """Of requests that are sent at a steady pace, whether those before are answered or not."""
    tasks, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        tasks.append(asyncio.create_task(_answer(stage)))
        await asyncio.sleep(PACE)
    return await asyncio.gather(*tasks)


def _told(first: Answer, answers: list[Answer]) -> str:
    failed = [answer.status for answer in answers if answer.status != 200]
    return f"first {first.seconds:.2f} s {first.status}; {len(failed)} of {len(answers)} failed" + (
        f" ({failed[0]})" if failed else ""
    )


async def never_an_answer(mode: Mode, stage: DnsStage) -> Seen:
    """Seconds until a request is refused: with a reason of its own."""
    stage.dns.mode = mode
    await stage.start()
    answer = await _answer(stage)
    line = await stage.logged()
    error, cause = line.get("error.type"), line.get("error.cause")
    told = f"{answer.status} `{error}`, {cause}"
    is_right = answer.status in (502, 503, 504) and error not in OTHER_FAILURES and str(error) in answer.body
    return Seen(answer.seconds, told, is_right)


async def goes_wrong(mode: Mode, stage: DnsStage) -> Seen:
    """The slowest request after the first one, when look-ups fail from then on; each needs a connection of its own."""
    stage.old.closes = True
    await stage.start()
    first = await _answer(stage)
    stage.dns.mode = mode
    answers = await _answers(stage, stage.options.requests_for)
    is_right = all(answer.status == 200 for answer in [first, *answers])
    return Seen(max(answer.seconds for answer in answers), _told(first, answers), is_right)


async def is_bad_throughout(mode: Mode, stage: DnsStage) -> Seen:
    """The slowest request after the first one, when every look-up takes long."""
    stage.old.closes = True
    stage.dns.mode = mode
    await stage.start()
    first = await _answer(stage)
    answers = await _answers(stage, stage.options.requests_for)
    is_right = all(answer.status == 200 for answer in [first, *answers])
    return Seen(max(answer.seconds for answer in answers), _told(first, answers), is_right)


async def moves(is_busy: bool, stage: DnsStage) -> Seen:
    """Seconds from the move to the first request that is answered at the new address, and what becomes of the old one."""
    await stage.start()
    stream = await stage.send("/events") if is_busy else None
    if stream:
        await stream.until(EVENT)
    first = await _answer(stage)
    stage.dns.addresses[NAME] = [NEW]
    moved = time.monotonic()
    answers = await _answers(stage, stage.options.followed_in + 4)
    new = [answer for answer in answers if answer.body == "new"]
    followed = new[0].sent - moved if new else None
    # With the stream on HTTP/2, that is its connection; else nothing but the stream's is left.
    left = await _idle_connections(stage, 1 if is_busy else 0)
    told = f"{_told(first, answers)}; {len(left)} idle connections left at the old address"
    goes_on = True
    if stream:
        stream.mark()
        goes_on = await stream.until(EVENT) is not None
        told += f"; the stream {'goes on' if goes_on else 'ended'}"
        stream.close()
    stayed = all(answer.body == "new" for answer in answers if new and answer.sent > new[0].sent)
    is_right = goes_on and stayed and not left and all(answer.status == 200 for answer in answers)
    return Seen(followed, told, is_right)


async def _idle_connections(stage: DnsStage, busy: int) -> range:
    """How many connections to the old address there are too many, when they have had a moment to be closed."""
    end = time.monotonic() + MOMENT
    while stage.old.open > busy and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return range(max(stage.old.open - busy, 0))


def _soon(options: Options) -> float:
    return options.soon


def _followed(options: Options) -> float:
    return options.followed_in


CASES = [
    # glibc asks twice, 5 s each.
    DnsCase("silent from the start", partial(never_an_answer, Mode.SILENT), lambda _: 12),
    DnsCase("no such name from the start", partial(never_an_answer, Mode.NXDOMAIN), lambda _: 6),
    DnsCase("silent after a good answer", partial(goes_wrong, Mode.SILENT), _soon),
    DnsCase("no address after a good answer", partial(goes_wrong, Mode.EMPTY), _soon),
    DnsCase("no such name after a good answer", partial(goes_wrong, Mode.NXDOMAIN), _soon),
    DnsCase("SERVFAIL after a good answer", partial(goes_wrong, Mode.SERVFAIL), _soon),
    DnsCase("first packet of each look-up lost", partial(is_bad_throughout, Mode.LOSE_FIRST), _soon),
    DnsCase("each answer 2 s late", partial(is_bad_throughout, Mode.SLOW), _soon),
    DnsCase("name moves, connections idle", partial(moves, False), _followed),
    DnsCase("name moves, a stream busy at the old address", partial(moves, True), _followed),
    DnsCase("name moves, a stream busy over HTTP/2", partial(moves, True), _followed, http2=True),
]
