"""Writes what the doctor prints of the chains into docs/troubleshooting.md, between the marks that name them."""

import re
from concurrent.futures import ThreadPoolExecutor

from cases import CASES
from doctor import chain, examine, run
from programs import ROOT

DOCUMENT = ROOT / "docs/troubleshooting.md"
EXAMPLE = re.compile(r"(<!-- chain: ([^\n]*) -->\n).*?(<!-- /chain -->\n)", re.DOTALL)

# Where the first point is, in the document.
PORT = 8081


def write(is_wanted, mended):
    """Those of these names."""
    text = DOCUMENT.read_text()
    cases = {case.name: case for case in CASES if is_wanted(case.name)}
    names = [name for _, name, _ in EXAMPLE.findall(text) if name in cases]
    with ThreadPoolExecutor(2) as pool:
        written = dict(zip(names, pool.map(lambda name: example(cases[name], mended), names)))

    def anew(found):
        return found[1] + written[found[2]] + found[3] if found[2] in written else found[0]

    DOCUMENT.write_text(EXAMPLE.sub(anew, text))


def example(case, mended):
    """A chain as it is, and after each mending."""
    hops, said = case.hops, ["```console\n"]
    for _ in case.finds:
        said.append(f"{command(case)}\n{shown(hops, case)}\n")
        hops = mended(case, hops, examine(hops, *case.options))
    said.append(f"{command(case)}\n{shown(hops, case)}```\n")
    return "".join(said)


def command(case):
    points = [f"{hop.name}=http://127.0.0.1:{PORT + n}/" for n, hop in enumerate(case.hops)]
    return " ".join(["$ sidestream doctor --token TOKEN", *case.options, *points])


def shown(hops, case):
    """What the doctor prints, without the tests that went well."""
    with chain(hops) as points:
        printed = run(points, *case.options).stdout
    # A line that is too long goes on in the next one.
    printed = re.sub(r"^ok .*\n(?: {20}.*\n)*", "", printed, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in printed.strip().splitlines()) + "\n"
