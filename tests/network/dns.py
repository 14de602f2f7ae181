"""Names, and a DNS server that fails in every way: dns.py --binary SIDESTREAM [--quick] [CASE...]

sidestream runs where the only DNS server is a scripted one, and knows its backend by a name. The table says how long the slowest
request took, how soon a name that moved was followed, or how soon the process did what a signal asks for. The exit code is 1
where that was beyond a limit, or a request failed that must not. CASE: a part of a name.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import dns_requests
import dns_signals
import namespaces
from dns_stage import DnsCase, Options, Seen
from report import Row, table, verdict

CASES = [*dns_requests.CASES, *dns_signals.CASES]
TIME_BOX, QUICK_TIME_BOX = 60.0, 25.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--binary", required=True, help="the sidestream that is tried")
    parser.add_argument("--quick", action="store_true", help="names are looked up each second, in less than half a minute")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    return parser.parse_args()


async def measure(cases: list[DnsCase], options: Options, time_box: float) -> list[Seen | BaseException]:
    """All at once, each on a host of its own."""
    return await asyncio.gather(*(case.measure(options, time_box) for case in cases), return_exceptions=True)


def row(case: DnsCase, options: Options, seen: Seen | BaseException) -> Row:
    limit = case.limit(options)
    digits = 0 if case.unit == "ms" else 2
    bound = f"{limit:.0f} {case.unit}"
    if isinstance(seen, BaseException):
        return Row(case.name, bound, ["failed", f"{seen!r}"], False)
    measured = "—" if seen.measured is None else f"{seen.measured:.{digits}f} {case.unit}"
    is_kept = seen.is_right and seen.measured is not None and seen.measured <= limit
    return Row(case.name, bound, [measured, seen.told], is_kept)


def main() -> int:
    chosen = arguments()
    if reason := namespaces.why_not():
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    options = Options(
        binary=str(Path(chosen.binary).absolute()),
        interval="1s" if chosen.quick else None,
        # The interval, and a moment.
        followed_in=3 if chosen.quick else 12,
        requests_for=8 if chosen.quick else 30,
        soon=1.5 if chosen.quick else 1,
        patience=5 if chosen.quick else 1,
    )
    cases = [case for case in CASES if not chosen.cases or any(part in case.name for part in chosen.cases)]
    seen = asyncio.run(measure(cases, options, QUICK_TIME_BOX if chosen.quick else TIME_BOX))
    rows = [row(case, options, seen) for case, seen in zip(cases, seen, strict=True)]
    print(table(["measured", "what else was seen"], rows))
    return verdict(rows)


if __name__ == "__main__":
    sys.exit(main())
