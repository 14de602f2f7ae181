#!/usr/bin/env python3
"""Counts the instructions of sidestream per event and per short stream, and compares them with a budget.

callgrind counts the instructions, so the figures do not depend on the load of the machine. The same program gives the same figures
within one percent. Each figure is the difference of two runs, which excludes one-time costs.

Usage: instructions.py PROGRAM BUDGET.json [--write]
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
EVENTS_OF_A_SHORT_STREAM = 8
# The relative excess over the budget that is tolerated.
TOLERANCE = 0.05


class Pair:
    """A client and a backend in lockstep, with sidestream between them."""

    def __init__(self, program, folder):
        self.backend = socket.create_server(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = free.getsockname()
        config = os.path.join(folder, "sidestream.yaml")
        self.counts = os.path.join(folder, "counts")
        with open(config, "w") as file:
            json.dump(
                {
                    "listeners": [{"address": "127.0.0.1:%d" % self.address[1]}],
                    "admin": "off",
                    "access_log": "off",
                    "server": {"threads": 1},
                    "upstreams": {"llm": {"servers": ["http://127.0.0.1:%d" % self.backend.getsockname()[1]]}},
                },
                file,
            )
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.counts}", program, "run", "--config", config],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr))
        self.reader.start()
        self.client = self.connect()

    def connect(self):
        for _ in range(600):
            try:
                return socket.create_connection(self.address)
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit("sidestream does not listen:\n" + "".join(self.said))

    def ask(self):
        """Sends a request and receives it at the backend."""
        self.client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        if not hasattr(self, "upstream"):
            self.upstream, _ = self.backend.accept()
        receive(self.upstream, b"\r\n\r\n")

    def end(self):
        """Stops sidestream. Returns the number of instructions it executed."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.reader.join()
        found = re.search(r"Collected : (\d+)", "".join(self.said))
        if found is None:
            raise SystemExit("callgrind printed no count:\n" + "".join(self.said))
        return int(found.group(1))


def receive(connection, end):
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit(f"the connection ended after {received!r}")
        received += piece


def short_streams(pair, count):
    for _ in range(count):
        pair.ask()
        pair.upstream.sendall(HEAD + CHUNK * EVENTS_OF_A_SHORT_STREAM + DONE)
        receive(pair.client, b"0\r\n\r\n")


def events(pair, count):
    pair.ask()
    pair.upstream.sendall(HEAD)
    receive(pair.client, b"\r\n\r\n")
    for _ in range(count):
        pair.upstream.sendall(CHUNK)
        receive(pair.client, b"\n\n\r\n")
    pair.upstream.sendall(DONE)
    receive(pair.client, b"0\r\n\r\n")


def count(program, scenario, few, many):
    """Returns the instructions per unit: the difference of two runs, divided by the difference of their counts."""
    totals = []
    for number in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(program, folder)
            scenario(pair, number)
            totals.append(pair.end())
    return round((totals[1] - totals[0]) / (many - few))


def main():
    program, budget_file = sys.argv[1:3]
    counted = {
        "event": count(program, events, 200, 2200),
        "short_stream": count(program, short_streams, 100, 600),
    }
    if "--write" in sys.argv:
        with open(budget_file, "w") as file:
            json.dump(counted, file, indent=2)
            file.write("\n")
    with open(budget_file) as file:
        budget = json.load(file)
    too_many = False
    for name, instructions in counted.items():
        change = instructions / budget[name] - 1
        print(f"{name}: {instructions} instructions, {change:+.1%} against the budget")
        too_many |= change > TOLERANCE
    if too_many:
        raise SystemExit(
            f"more than {TOLERANCE:.0%} above {budget_file}: find the cause (see docs/performance.md), "
            "or raise the budget with --write and give the reason in the commit"
        )


main()
