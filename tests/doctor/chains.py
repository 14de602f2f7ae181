"""What the doctor finds in chains of real programs: chains.py [NAME…] [--quick] [--rounds N] [--noise] [--write]

Each chain has something wrong in it. The doctor is to name it, and where it is; what it says is then written into the configuration of
the program that it named, and it is to find nothing any more. In clean chains it is to find nothing at all.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import troubleshooting
from cases import CASES, CLEAN
from doctor import examine

AT_ONCE = 4


def mended(case, hops, report):
    """The hops, with what the report says written into those that it names."""
    hops = {hop.name: hop for hop in hops}
    for finding in report.findings:
        name = finding["between"][1]
        hop = hops[name]
        remedies = [remedy for remedy in finding["remedy"] if remedy["for"] == hop.product]
        by_hand = case.by_hand.get(finding["id"])
        if by_hand:
            hops[name] = by_hand(hop, (remedies or finding["remedy"])[0])
            continue
        lines = [remedy for remedy in remedies if hop.takes(remedy)]
        assert lines or finding["id"] in case.remains, f"nothing to write for {finding['id']} of {hop.product}: {finding['remedy']}"
        for remedy in lines:
            hop = hop.with_remedy(remedy)
        hops[name] = hop
    return tuple(hops.values())


def expect(what, report, finds, infos):
    """Fails where a report does not say this."""
    points = [point["name"] for point in report.json["points"]]
    before = dict(zip(points, ["origin", *points]))
    expected = {(id, before[name], name) for name, ids in finds.items() for id in ids}
    found = {(finding["id"], *finding["between"]) for finding in report.graves()}
    told = {finding["id"] for finding in report.findings if finding["severity"] == "info"}
    summaries = "\n".join(f"  {finding['id']} {finding['between']}: {finding['summary']}" for finding in report.findings)
    assert found == expected, f"{what}: found {found or 'nothing'}, and not {expected or 'nothing'}\n{summaries}"
    assert told == infos, f"{what}: told {told or 'nothing'}, and not {infos or 'nothing'}\n{summaries}"


def try_case(case):
    """Looks at a chain, mends what is found, and looks again; the lines of its account."""
    hops, said = case.hops, []
    for finds in case.finds:
        report = examine(hops, *case.options)
        expect(case.name, report, finds, case.infos)
        said += [f"  {finding['severity']} {finding['id']}, {' → '.join(finding['between'])}: {finding['summary']}" for finding in report.findings]
        hops = mended(case, hops, report)
    report = examine(hops, *case.options)
    expect(f"{case.name}, mended", report, {}, case.remains)
    return [case.name, *said, "  mended: nothing found"]


def try_clean(name, rounds):
    """How often something was found in a chain with nothing wrong in it, and what."""
    found = []
    for _ in range(rounds):
        report = examine(CLEAN[name])
        found += [f"  {finding['id']}: {finding['summary']}" for finding in report.findings]
    assert not found, "\n".join([f"{name}: found in {rounds} rounds", *found])
    return [f"{name}: nothing found in {rounds} rounds"]


@contextlib.contextmanager
def noise(loops):
    """Busy loops beside it."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in busy:
            loop.kill()
            loop.wait()


def tried(work):
    """The accounts of what is done, as they come; whether all went well."""
    is_good = True
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for attempt in [pool.submit(*what) for what in work]:
            try:
                print("\n".join(attempt.result()), flush=True)
            except Exception as error:
                is_good = False
                told = isinstance(error, AssertionError) and str(error)
                print(f"FAILED {told or traceback.format_exc()}", flush=True)
    return is_good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="the chains whose names have this in them; all, if none is given")
    parser.add_argument("--quick", action="store_true", help="fewer chains, for every run of the tests")
    parser.add_argument("--rounds", type=int, default=1, help="how often each clean chain is looked at")
    parser.add_argument("--noise", action="store_true", help="two busy loops beside the clean chains, which are then all that is tried")
    parser.add_argument("--clean", action="store_true", help="the clean chains alone")
    parser.add_argument("--write", action="store_true", help="write the examples of docs/troubleshooting.md anew")
    given = parser.parse_args()

    def is_wanted(name):
        return not given.names or any(part in name for part in given.names)

    if given.write:
        return troubleshooting.write(is_wanted, mended)
    cases = [case for case in CASES if is_wanted(case.name) and (case.is_quick or not given.quick)]
    if given.clean or given.noise:
        cases = []
    for case in cases:
        if not case.is_possible:
            print(f"{case.name} was not tried: a program is not installed", file=sys.stderr)
    work = [(try_case, case) for case in cases if case.is_possible]
    work += [(try_clean, name, given.rounds) for name, hops in CLEAN.items() if is_wanted(name) and all(h.is_installed for h in hops)]
    with noise(2 if given.noise else 0):
        return 0 if tried(work) else 1


if __name__ == "__main__":
    sys.exit(main())
