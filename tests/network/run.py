"""Peers that vanish and addresses that do not work, between namespaces: run.py --binary SIDESTREAM [--peers] [--quick] [CASE...]

Each case has three hosts of its own. The table says for each how many seconds it took: until a backend whose client vanished was
free again, until a client whose backend vanished had an answer, an error event or an end, and until a request with several
addresses to choose from was answered. The exit code is 1 where sidestream was slower than its limit. CASE: a part of a name.
"""

import argparse
import asyncio
import sys

import addresses
import namespaces
import proxies
import vanishing
from report import Row, table, verdict
from stage import Case, Measured, Stage

CASES = [*vanishing.CASES, *addresses.CASES]
# Seconds that a case may take.
TIME_BOX, QUICK_TIME_BOX = 90.0, 15.0

Results = dict[tuple[str, str], Measured | BaseException]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--binary", required=True, help="the sidestream that is tried")
    parser.add_argument("--peers", action="store_true", help="nginx, HAProxy and Caddy as well, where they are installed")
    parser.add_argument("--quick", action="store_true", help="with short keys, in less than half a minute")
    parser.add_argument(
        "--time-box", type=float, metavar="SECONDS", help="what a case may take, instead of 90, or of 15 in a hurry"
    )
    parser.add_argument("cases", nargs="*", metavar="CASE")
    return parser.parse_args()


async def measure(cases: list[Case], found: list[proxies.Proxy], time_box: float) -> Results:
    """All at once, each between hosts of its own. All are started first, so that this disturbs no measurement."""
    stages: dict[tuple[str, str], tuple[Case, Stage]] = {}
    try:
        for case in cases:
            for proxy in found:
                if case.is_for(proxy):
                    stages[case.name, proxy.name] = case, await case.stage(proxy)
        await asyncio.gather(*(stage.is_ready() for _, stage in stages.values()))
        runs = (case.measure(stage, time_box) for case, stage in stages.values())
        return dict(zip(stages, await asyncio.gather(*runs, return_exceptions=True), strict=True))
    finally:
        for _, stage in stages.values():
            await stage.close()


def cell(measured: Measured | BaseException | None, time_box: float) -> str:
    if measured is None:
        return "—"
    if isinstance(measured, BaseException):
        return "failed"
    if measured.seconds is None:
        return f"not in {time_box:.0f}"
    return f"{measured.seconds:.2f} {measured.came}".strip()


def is_kept(measured: Measured | BaseException | None, limit: float) -> bool:
    return isinstance(measured, Measured) and measured.is_right and measured.seconds is not None and measured.seconds <= limit


def main() -> int:
    options = arguments()
    if reason := namespaces.why_not():
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    keys = proxies.QUICK_KEYS if options.quick else proxies.Keys()
    own = proxies.sidestream(options.binary, keys)
    found = [own, *(proxies.peers(keys) if options.peers else [])]
    cases = [case for case in CASES if not options.cases or any(part in case.name for part in options.cases)]
    time_box = options.time_box or (QUICK_TIME_BOX if options.quick else TIME_BOX)
    results = asyncio.run(measure(cases, found, time_box))

    rows = []
    for case in cases:
        limit = case.quick_limit if options.quick else case.limit
        cells = [cell(results.get((case.name, proxy.name)), time_box) for proxy in found]
        rows.append(Row(case.name, f"{limit:g}", cells, is_kept(results.get((case.name, own.name)), limit)))
    print(table([proxy.name for proxy in found], rows))
    for (name, proxy_name), result in results.items():
        if isinstance(result, BaseException):
            print(f"\n{name}, {proxy_name}: {result}")
    return verdict(rows)


if __name__ == "__main__":
    sys.exit(main())
