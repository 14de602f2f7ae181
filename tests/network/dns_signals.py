"""Starting, stopping and reloading while look-ups hang."""

import asyncio
import signal
import time

from client import Exchange
from dns_stage import FILE, NEW, DnsCase, DnsStage, Seen
from scripted_dns import Mode

# Longer than a look-up of glibc's takes to fail.
PATIENCE = 15.0


async def starts(stage: DnsStage) -> Seen:
    """Milliseconds until it listens."""
    stage.dns.mode = Mode.SILENT
    return Seen(1000 * await stage.start())


async def _hangs(stage: DnsStage) -> Exchange:
    """A request whose look-up hangs."""
    stage.dns.mode = Mode.SILENT
    await stage.start()
    asked = asyncio.create_task(stage.is_asked())
    exchange = await stage.send()
    await asked
    return exchange


async def ends_after_a_request(stage: DnsStage) -> Seen:
    """Milliseconds until the process has ended. The request that wanted to know has gone."""
    (await _hangs(stage)).close()
    return await _ends(stage)


async def ends_under_a_request(stage: DnsStage) -> Seen:
    """The same, where the request still waits: it is told that nobody will serve it."""
    exchange = await _hangs(stage)
    seen = await _ends(stage)
    is_told = await exchange.until(b"shutting_down") is not None
    return Seen(seen.measured, f"the request: {exchange.status}", is_told and exchange.status == 503)


async def ends_while_it_looks_again(stage: DnsStage) -> Seen:
    """The same, where an answer is known and it was looking for a newer one, if it does."""
    await stage.start()
    exchange = await stage.send()
    await exchange.until(b"old")
    stage.dns.mode = Mode.SILENT
    asks = await _is_asked_within(stage, stage.options.followed_in)
    return await _ends(stage, "" if asks else "it did not look again")


async def _is_asked_within(stage: DnsStage, limit: float) -> bool:
    try:
        await asyncio.wait_for(stage.is_asked(), limit)
    except TimeoutError:
        return False
    return True


async def _ends(stage: DnsStage, told: str = "") -> Seen:
    stage.running.signal(signal.SIGTERM)
    seconds = await stage.running.seconds_to_end(PATIENCE)
    return Seen(None if seconds is None else 1000 * seconds, told)


async def reloads(stage: DnsStage) -> Seen:
    """Milliseconds until a request goes where the new configuration says, which has another name in it as well."""
    hanging = await _hangs(stage)
    text = stage.configuration(fixed=NEW, name="other.test")
    file = stage.running.folder / FILE
    file.write_text(text.replace("FOLDER", str(stage.running.folder)))
    stage.running.signal(signal.SIGHUP)
    began = time.monotonic()
    while True:
        exchange = await stage.send("/fixed")
        await exchange.until(b"old|new")
        exchange.close()
        if exchange.body == "new":
            break
        await asyncio.sleep(0.005)
    hanging.close()
    return Seen(1000 * (time.monotonic() - began))


CASES = [
    DnsCase("start with a silent server", starts, lambda options: 1000 * options.patience, "ms"),
    DnsCase("SIGTERM, a request's look-up hangs", ends_after_a_request, lambda options: 100 * options.patience, "ms"),
    DnsCase("SIGTERM, a request waits for a look-up", ends_under_a_request, lambda options: 100 * options.patience, "ms"),
    DnsCase(
        "SIGTERM, a look-up hangs after a good answer", ends_while_it_looks_again, lambda options: 100 * options.patience, "ms"
    ),
    DnsCase("SIGHUP, a request's look-up hangs", reloads, lambda options: 1000 * options.patience, "ms"),
]
