"""Follows docs/getting-started.md to the letter: getting_started.py

Python and YAML blocks become the files that the page names, `sh` blocks run, and each `text` block is what the command before it
prints (`text backend`: what the backend prints); `...` stands for any text. Only ports differ from the page, and what it
installs is left out.
"""

import os
import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from processes import LIMIT, PYTHON, ROOT, Process, arguments, reserved_port, wait_for

PAGE = ROOT / "docs/getting-started.md"
FILES = {"python": "backend.py", "yaml": "sidestream.yaml"}
INSTALLING = ("make ", "install ", "python3 -m venv ", ". .venv/", "pip ", "export ")
# Commands that run until they are stopped, and what each prints when it is ready.
SERVERS = {"uvicorn ": r"Uvicorn running", "sidestream run ": r"listening"}


def pattern(expected):
    """Matches text in which `...` stands for any text."""
    return "(?s:.*?)".join(re.escape(part) for part in expected.strip("\n").split("..."))


class Reader:
    """Somebody who follows the page, in a folder and with ports of their own."""

    def __init__(self, stack, binary):
        self.stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.ports = {port: str(stack.enter_context(reserved_port())) for port in ("8000", "8080", "9090")}
        self.path = f"{binary.parent}:{PYTHON.parent}:{os.environ['PATH']}"
        self.servers, self.printed = {}, ""

    def on_own_ports(self, text):
        for port, own in self.ports.items():
            text = re.sub(rf"(?<=[: ]){port}\b", own, text)
        return text

    def follow(self, kind, text):
        if kind in FILES:
            extra = f"admin: {{ address: 127.0.0.1:{self.ports['9090']} }}\n" if kind == "yaml" else ""
            (self.folder / FILES[kind]).write_text(self.on_own_ports(text) + extra)
        elif kind == "sh":
            for command in text.splitlines():
                self.run(self.on_own_ports(command))
        elif kind == "text":
            assert re.search(pattern(text), self.printed), f"the page shows\n{text}\nbut this was printed\n{self.printed}"
        elif kind == "text backend":
            wait_for(f"the backend prints\n{text}", lambda: self.servers["uvicorn "].said(pattern(text)))
        else:
            raise AssertionError(f"nobody knows what to do with a block of `{kind}`")

    def run(self, command):
        if command.startswith(INSTALLING):
            return
        environment = {**os.environ, "PATH": self.path}
        for server, ready in SERVERS.items():
            if command.startswith(server):
                inside = ["sh", "-c", f"cd {self.folder} && exec {command}"]
                process = self.stack.enter_context(Process(*inside, env=environment))
                wait_for(f"{command} is ready", lambda: process.said(ready))
                self.servers[server] = process
                return
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=LIMIT
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}"
        self.printed = done.stdout


def main():
    binary = arguments(__doc__).binary
    blocks = re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} >= {"python", "yaml", "sh", "text"}, "the page has lost its blocks"
    with ExitStack() as stack:
        reader = Reader(stack, binary)
        for kind, text in blocks:
            reader.follow(kind, text)
    print(f"{PAGE.name}: {len(blocks)} blocks hold")


if __name__ == "__main__":
    main()
