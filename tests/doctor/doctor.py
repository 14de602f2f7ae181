"""Runs the doctor at both ends of a chain."""

import contextlib
import json
import re
import subprocess
import time
from dataclasses import dataclass

import jsonschema
from programs import LIMIT, ROOT, SIDESTREAM, Program, reserved_port, wait_for

TOKEN = "0123456789abcdef0123"
FOUND, NOTHING_FOUND = 3, 0
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/doctor.schema.json").read_text()))


@dataclass(frozen=True)
class Report:
    """The output of the doctor for a chain."""

    json: dict
    exit_code: int
    seconds: float

    @property
    def findings(self):
        return self.json["findings"]

    def graves(self):
        return [finding for finding in self.findings if finding["severity"] != "info"]


@contextlib.contextmanager
def chain(hops):
    """The points of a running chain, from inside to outside, as `name=URL`."""
    with contextlib.ExitStack() as running:
        origin = running.enter_context(Program([str(SIDESTREAM), "doctor", "--serve", "127.0.0.1:0", "--token", TOKEN]))
        said = wait_for("the origin listens", lambda: re.search(r"listens on 127\.0\.0\.1:(\d+)", origin.output()))
        upstream, points = int(said[1]), []
        for hop in hops:
            port = running.enter_context(reserved_port())
            running.enter_context(hop.start(port, upstream)).wait_until_it_listens(port)
            points.append(f"{hop.name}=http://127.0.0.1:{port}/")
            upstream = port
        yield points or [f"direct=http://127.0.0.1:{upstream}/"]


def examine(hops, *options):
    """Starts a chain, probes each of its points, and ends it."""
    with chain(hops) as points:
        began = time.monotonic()
        said = run(points, "--json", *options)
        report = Report(json.loads(said.stdout), said.returncode, time.monotonic() - began)
    validate(report.json)
    expected = FOUND if report.graves() else NOTHING_FOUND
    assert report.exit_code == expected, f"exit code {report.exit_code}, not {expected}"
    return report


def run(points, *options):
    command = [str(SIDESTREAM), "doctor", "--token", TOKEN, *options, *points]
    said = subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT, check=False)
    assert said.returncode in (FOUND, NOTHING_FOUND), said.stderr
    return said


def validate(report):
    """Fails if a report does not match its schema."""
    for mistake in SCHEMA.iter_errors(report):
        instance = json.dumps(mistake.instance)[:600]
        raise AssertionError(f"not as docs/doctor.schema.json says: {mistake.json_path}: {instance}")
