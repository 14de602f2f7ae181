"""Runs the configurations of docs/behind/: behind.py [PAGE…] [--idle DURATION]

A product, the sidestream behind it, and a probe origin in place of the backend, as a page configures them. The doctor is to find
nothing over HTTP/1.1 and HTTP/2 but what the page says: neither in the product alone, with the sidestream as the origin, nor in the
whole chain. The backend has to see the client's address, and that a client has left; a request of 2 MiB has to pass.
"""

import argparse
import contextlib
import http.client
import json
import re
import ssl
import sys
from pathlib import Path

import doctor
from chains import tried
from pages import PAGES
from programs import ROOT, SIDESTREAM, Program, reserved_port, wait_for

sys.path.append(str(ROOT / "tests/clients"))
from certificate import certificate  # noqa: E402

# A client whose address no proxy has, and the one that it says it forwards for.
CLIENT, FORGED = "127.0.0.2", "203.0.113.9"
LARGE = 2 << 20
DOCTOR = {"doctor_path": "/doctor", "doctor_token": doctor.TOKEN}


@contextlib.contextmanager
def running(page, own):
    """The port of the product in front of a sidestream in front of a probe origin, and that sidestream."""
    with contextlib.ExitStack() as programs:
        origin = programs.enter_context(Program([str(SIDESTREAM), "doctor", "--serve", "127.0.0.1:0", "--token", doctor.TOKEN]))
        said = wait_for("the origin listens", lambda: re.search(r"listens on (127\.0\.0\.1:\d+)", origin.output()))
        inner, outer = (programs.enter_context(reserved_port()) for _ in range(2))
        files = {"sidestream.yaml": page.sidestream(inner, said[1], DOCTOR)}
        sidestream = programs.enter_context(Program([str(SIDESTREAM), "run", "--config", "sidestream.yaml"], files))
        sidestream.wait_until_it_listens(inner)
        file = Path(page.file).name
        command = [str(page.hop.program), *page.hop.arguments.format(file=file).split()]
        product = programs.enter_context(Program(command, {file: page.product(outer, inner, own)}))
        product.wait_until_it_listens(outer)
        yield outer, sidestream


def ask(port, method, **more):
    """The request of this client as the backend sees it: its fields by name, in lower case."""
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, source_address=(CLIENT, 0), timeout=60)
    with contextlib.closing(connection):
        connection.request(method, f"/?doctor_token={doctor.TOKEN}&do=echo", **more)
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, f"{method}: status {response.status}: {body}"
    return {name.lower(): value for name, value in json.loads(body)["fields"]}


def check_addresses(port, sidestream):
    fields = ask(port, "GET", headers={"X-Forwarded-For": FORGED})
    chain = fields.get("x-forwarded-for", "")
    assert chain.endswith(f"{CLIENT}, 127.0.0.1"), f"X-Forwarded-For is `{chain}`"
    assert fields.get("x-forwarded-proto") == "https", fields
    wait_for("the client's address in the access log", lambda: f'"client.address":"{CLIENT}"' in sidestream.output())


def told_of(finding):
    return f"{finding['severity']} {finding['id']}, {' → '.join(finding['between'])}: {finding['summary']}"


def check_streams(page, port, protocol, options):
    points = [f"product=https://127.0.0.1:{port}{DOCTOR['doctor_path']}", f"chain=https://127.0.0.1:{port}/"]
    report = json.loads(doctor.run(points, "-k", "--json", protocol, *options).stdout)
    doctor.validate(report)
    findings = report["findings"]
    found = {finding["id"] for finding in findings if finding["severity"] != "info"}
    expected = page.over_http2 if protocol == "--http2" else frozenset()
    told = "; ".join(map(told_of, findings)) or "nothing"
    assert found <= expected, f"{protocol}: found {told}, and not {set(expected) or 'nothing'}"
    for test in report["tests"]:
        if test["id"] in ("leaves_prefill", "leaves_stream"):
            assert test.get("known_after") is not None, f"{protocol}: {test}"
    return f"  {protocol}: {told}"


def try_page(page, own, options):
    try:
        with running(page, own) as (port, sidestream):
            check_addresses(port, sidestream)
            ask(port, "POST", body=b"x" * LARGE)
            return [page.name, *(check_streams(page, port, protocol, options) for protocol in ("--http1", "--http2"))]
    except AssertionError as error:
        raise AssertionError(f"{page.name}: {error}") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PAGE", help="all, if none is given")
    parser.add_argument("--idle", help="watch silent streams as well, for so long")
    given = parser.parse_args()
    wanted = [page for page in PAGES if not given.names or page.name in given.names]
    for page in wanted:
        if not page.hop.is_installed:
            print(f"docs/behind/{page.name}.md was not tried: {page.hop.product} is not installed", file=sys.stderr)
    options = ("--idle", given.idle) if given.idle else ()
    with certificate() as own:
        work = [(try_page, page, own, options) for page in wanted if page.hop.is_installed]
        return 0 if tried(work, at_once=len(PAGES)) else 1


if __name__ == "__main__":
    sys.exit(main())
