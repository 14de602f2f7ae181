"""The programs of a chain: each runs in a temporary folder, and ends with the chain."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "clients"))
from processes import LIMIT, PYTHON, ROOT, SIDESTREAM, reserved_port, wait_for  # noqa: E402

__all__ = ["HERE", "LIMIT", "PYTHON", "ROOT", "SIDESTREAM", "Program", "envoy", "find", "reserved_port", "wait_for"]

# Debian installs servers in /usr/sbin, which is not on every user's path.
PATH = f"{os.environ['PATH']}:/usr/sbin"


def find(name):
    """The path of a program, or `None` if it is not installed. The environment names those that are not on the path, such as CADDY."""
    return shutil.which(os.environ.get(name.upper(), name), path=PATH)


def envoy():
    """The path of Envoy, which its Python package contains."""
    return find("envoy") or next((ROOT / ".venv-peers/lib").glob("*/site-packages/envoy/_bin/envoy"), None)


class Program:
    """A program and its child processes. Its output is kept."""

    def __init__(self, command, files=None, links=()):
        """`files`: the texts of the files in its folder, by name; `links`: paths that its folder links to."""
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
        # Its children are in the same process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._temporary.cleanup()
