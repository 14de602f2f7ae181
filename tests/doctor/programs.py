"""Programs that run for a chain, each in a folder of its own, and that end with it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIDESTREAM = Path(os.environ.get("SIDESTREAM", ROOT / "target/release/sidestream")).absolute()
LIMIT = 60

# Debian has servers there, and it is not on everybody's path.
PATH = f"{os.environ['PATH']}:/usr/sbin"


def find(name):
    """Where a program is; the environment names those that are not on the path, such as CADDY. `None`: it is not installed."""
    return shutil.which(os.environ.get(name.upper(), name), path=PATH)


def envoy():
    """Its package has it inside."""
    return find("envoy") or next((ROOT / ".venv-peers/lib").glob("*/site-packages/envoy/_bin/envoy"), None)


def wait_for(what, condition):
    """Waits for a condition, and fails loudly if it does not come."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"this did not happen within {LIMIT} s: {what}")


@contextlib.contextmanager
def reserved_port():
    """A port that nobody else is given, where connections are refused until somebody listens who reuses addresses."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


class Program:
    """A program with all that it starts. Its output is kept."""

    def __init__(self, command, files=None, links=()):
        """`files`: what is in its folder, by name; `links`: what else is there."""
        self._temporary = tempfile.TemporaryDirectory(prefix="sidestream-doctor-")
        folder = Path(self._temporary.name)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        for path in links:
            (folder / path.name).symlink_to(path)
        self._log = folder / "output"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "PATH": PATH, "HOME": str(folder), "NO_COLOR": "1"},
                start_new_session=True,
            )

    def output(self):
        return self._log.read_text(errors="replace")

    def wait_until_it_listens(self, port):
        def listens():
            assert self._process.poll() is None, self.output()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_for(f"{self._process.args[0]} listens", listens)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Some of them have children, which are of the same group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._temporary.cleanup()
