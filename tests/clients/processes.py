"""The programs of a test: their output, their ends, and sidestream among them."""

import argparse
import contextlib
import functools
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
SIDESTREAM = Path(os.environ.get("SIDESTREAM", TARGET / "release/sidestream")).absolute()
PYTHON = ROOT / ".venv/bin/python"
LIMIT = 60

# One route whose streams end with `terminal`, and one that knows of none.
KEYED_ROUTE = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams: {{ app: {{ servers: ["{server}"] }} }}
routes:
  - {{ match: {{ path: /keyed/ }}, upstream: app, stream: {{ terminal: "{terminal}" }} }}
  - {{ match: {{}}, upstream: app }}
"""


def arguments(about, *options):
    """A driver's command line; each of `options` is a name and what argparse is to do with it."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--binary", type=lambda path: Path(path).absolute(), default=SIDESTREAM, help="the sidestream that is tried"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for every run of the tests")
    for name, how in options:
        parser.add_argument(name, **how)
    return parser.parse_args()


@contextlib.contextmanager
def reserved_port():
    """A port that nobody else is given, where connections are refused until somebody listens who reuses addresses."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def wait_for(what, condition):
    """Waits for a condition, and fails loudly if it does not come."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"this did not happen within {LIMIT} s: {what}")


class Process:
    """A program whose output can be read while it runs."""

    def __init__(self, *command, **options):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log, stdout=self.log, cwd=HERE, **options)

    def said(self, pattern):
        return re.search(pattern, self.output(), re.MULTILINE)

    def output(self):
        return Path(self.log.name).read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Sidestream(Process):
    """sidestream with this configuration, in which the ports of listener and admin are 0."""

    def __init__(self, configuration, binary=SIDESTREAM, inside=()):
        """`inside`: a command that runs what follows it."""
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.file.write(configuration)
        self.file.flush()
        super().__init__(*inside, binary, "run", "--config", self.file.name)

    @functools.cached_property
    def url(self):
        return f"http://127.0.0.1:{self.ports(1)[0]}"

    def ports(self, count):
        """The ports of its listeners, of which there are so many, in the order of the configuration."""

        def listening():
            assert self.process.poll() is None, self.output()
            found = re.findall(r"listening.*?127\.0\.0\.1:(\d+)", self.output())
            # What comes after them is the admin's.
            return found[:count] if len(found) >= count else None

        return [int(port) for port in wait_for("sidestream listens", listening)]

    @functools.cached_property
    def admin(self):
        port = wait_for("sidestream has an admin port", lambda: self.said(r"metrics.*?127\.0\.0\.1:(\d+)"))
        return f"http://127.0.0.1:{port[1]}"

    def metric(self, name, **labels):
        """The sum of a metric over all series that have these labels."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=LIMIT) as metrics:
            series = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", metrics.read().decode(), re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for found, value in series if all(label in found for label in wanted))
