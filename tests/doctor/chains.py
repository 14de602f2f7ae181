"""What the doctor finds in chains of real programs: chains.py [NAME…] [--quick] [--rounds N] [--noise] [--write]

Each chain has a fault. The doctor must name the fault and the hop. The lines that it prints are then written into the configuration of
that hop, and a second run must find nothing. Home-made hops have no configuration: their code is changed as the printed note says. In
clean chains the doctor must find nothing.
"""

import argparse
import contextlib
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import troubleshooting
from cases import CASES, CLEAN
from doctor import examine

AT_ONCE = 5


def mended(case, hops, report):
    """The hops, with the printed lines written into those that the report names."""
    hops = {hop.name: hop for hop in hops}
    for finding in report.findings:
        name = finding["between"][1]
        hop = hops[name]
        remedies = [remedy for remedy in finding["remedy"] if remedy["for"] == hop.product]
        by_hand = case.by_hand.get(finding["id"])
        lines = [remedy for remedy in remedies if hop.takes(remedy)]
        what = f"{finding['id']} of {hop.product}"
        if by_hand:
            assert not lines, f"there are lines to write for {what}: {lines}"
            hops[name] = by_hand(hop)
            continue
        assert lines or finding["id"] in case.remains, f"nothing to write for {what}: {finding['remedy']}"
        for remedy in lines:
            hop = hop.with_remedy(remedy)
        hops[name] = hop
    return tuple(hops.values())


def told(finding):
    return f"  {finding['severity']} {finding['id']}, {' → '.join(finding['between'])}: {finding['summary']}"


def expect(what, report, finds, infos):
    """Fails unless a report has exactly these findings."""
    points = [point["name"] for point in report.json["points"]]
    before = dict(zip(points, ["origin", *points]))
    expected = {(id, before[name], name) for name, ids in finds.items() for id in ids}
    found = {(finding["id"], *finding["between"]) for finding in report.graves()}
    also = {finding["id"] for finding in report.findings if finding["severity"] == "info"}
    if (found, also) != (expected, infos):
        wrong = f"found {found or 'nothing'} and told {also or 'nothing'}, not {expected or 'nothing'} and {infos or 'nothing'}"
        raise AssertionError("\n".join([f"{what}: {wrong}", *map(told, report.findings)]))


def try_case(case):
    """Probes a chain, mends what is found, and probes it again. Returns the lines to print."""
    hops, said, seconds = case.hops, [], []
    for finds in case.finds:
        report = examine(hops, *case.options)
        expect(case.name, report, finds, case.infos)
        said += map(told, report.findings)
        seconds.append(report.seconds)
        hops = mended(case, hops, report)
    report = examine(hops, *case.options)
    expect(f"{case.name}, mended", report, {}, case.remains)
    took = ", ".join(f"{run:.1f}" for run in [*seconds, report.seconds])
    return [case.name, *said, f"  mended: nothing found (runs of {took} s)"]


def try_clean(name, rounds):
    """Probes a clean chain so many times. Returns the line to print, and fails if anything is found."""
    hops, options = CLEAN[name]
    reports = [examine(hops, *options) for _ in range(rounds)]
    found = [told(finding) for report in reports for finding in report.findings]
    seconds = sorted(report.seconds for report in reports)
    assert not found, "\n".join([f"{name}: found in {rounds} rounds", *found])
    return [f"{name}: nothing found in {rounds} rounds of {seconds[0]:.1f} to {seconds[-1]:.1f} s"]


@contextlib.contextmanager
def noise(loops):
    """Keeps the cores busy meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in busy:
            loop.kill()
            loop.wait()


def tried(work, at_once=AT_ONCE):
    """Prints the results in order. Returns whether all went well."""
    is_good = True
    with ThreadPoolExecutor(at_once) as pool:
        for attempt in [pool.submit(*what) for what in work]:
            try:
                print("\n".join(attempt.result()), flush=True)
            except Exception as error:
                is_good = False
                why = isinstance(error, AssertionError) and str(error)
                print(f"FAILED {why or traceback.format_exc()}", flush=True)
    return is_good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="chains whose names contain this; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer chains, as the tests do")
    parser.add_argument("--clean", action="store_true", help="only the clean chains")
    parser.add_argument("--rounds", type=int, default=1, help="how often each clean chain is probed")
    parser.add_argument("--noise", action="store_true", help="keep two cores busy meanwhile")
    parser.add_argument("--write", action="store_true", help="update the examples of docs/troubleshooting.md")
    given = parser.parse_args()

    def is_wanted(name):
        return not given.names or any(part in name for part in given.names)

    if given.write:
        return troubleshooting.write(is_wanted, mended)
    work = []
    for case in [] if given.clean else filter(lambda case: is_wanted(case.name), CASES):
        if given.quick and not case.is_quick:
            continue
        if case.is_possible:
            work.append((try_case, case))
        else:
            print(f"{case.name} was not tried: a program is not installed", file=sys.stderr)
    for name, (hops, _) in CLEAN.items():
        if is_wanted(name) and all(hop.is_installed for hop in hops):
            work.append((try_clean, name, given.rounds))
    with noise(2 if given.noise else 0):
        return 0 if tried(work) else 1


if __name__ == "__main__":
    sys.exit(main())
