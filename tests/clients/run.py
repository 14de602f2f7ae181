"""Real clients and a real server with sidestream between them: run.py [--write] [--padding SIZE] [CLIENT...]

Each client goes through every case. What it made of them must be what the table in docs/clients.md says, which `--write`
writes anew. `--padding` is for trying another one than that of the table.
"""

import argparse
import contextlib
import json
import subprocess
import tempfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from processes import HERE, LIMIT, PYTHON, ROOT, Process, Sidestream, wait_for

TABLE = ROOT / "docs/clients.md"
PYTHON_OPENAI_1 = ROOT / ".venv-openai-1/bin/python"
TEXT = "Streams are made of events."

# Case and heading of its column. `killed` is last, because it takes the backend with it.
CASES = {
    "complete": "each word as it is sent",
    "early": "heartbeats before the header",
    "silence_before": "before the first event",
    "silence_between": "between events with `id`",
    "cancelled": "leaving cancels",
    "stalled": "stall",
    "truncated": "clean end too early",
    "killed": "killed in an event",
}
SILENCES = ("early", "silence_before", "silence_between")
PADDING = "4KiB"
PADDED = "heartbeats padded to 4 KiB"
BROKEN = {
    "stalled": "The backend stopped sending before the answer was complete",
    "truncated": "The backend ended its response before the answer was complete",
    "killed": "before the answer was complete",
}

CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ llm: {{ servers: [http://127.0.0.1:{port}] }} }}
stream: {{ heartbeat: 150ms, early_heartbeat: 200ms, heartbeat_padding: {padding}, idle_timeout: 2s }}
"""


class Client:
    """A client: how it is driven, where its version is found, what it raises for a stream that broke (`killed`: where its backend's
    connection broke, if that is something else), and in which of the silences it gets heartbeats."""

    def __init__(self, name, driver, package, error, killed=None, heartbeats=SILENCES, takes_comments=True, note=""):
        self.name, self.driver, self.package = name, driver, package
        self.errors = {**dict.fromkeys(BROKEN, error), "killed": killed or error}
        self.heartbeats, self.takes_comments, self.note = heartbeats, takes_comments, note

    def label(self):
        if self.name == "chromium":
            # Debian's moves on with security updates.
            return "Chromium's EventSource"
        if self.driver[0] == "node":
            found = json.loads((HERE / "node_modules" / self.package / "package.json").read_text())["version"]
            return f"{self.package} {found} (JavaScript){self.note}"
        code = f"import importlib.metadata as m; print(m.version('{self.package}'))"
        found = subprocess.run([self.driver[0], "-c", code], capture_output=True, text=True, check=True).stdout
        return f"{self.package} {found.strip()} (Python){self.note}"


PY, PY_1, NODE = [PYTHON, HERE / "drive.py"], [PYTHON_OPENAI_1, HERE / "drive.py"], ["node", HERE / "drive.mjs"]
CLIENTS = [
    Client("openai", PY, "openai", "APIError"),
    Client("openai-1", PY_1, "openai", "APIError"),
    Client("openai-http2", PY, "openai", "APIError", note=" over HTTP/2"),
    Client("openai-node", NODE, "openai", "APIError"),
    Client("anthropic", PY, "anthropic", "APIStatusError"),
    Client("anthropic-node", NODE, "@anthropic-ai/sdk", "APIError"),
    Client("ai-sdk-openai-compatible", NODE, "@ai-sdk/openai-compatible", "error part"),
    Client("ai-sdk-anthropic", NODE, "@ai-sdk/anthropic", "error part"),
    # Neither what it accepts nor what it sends says that it asks for a stream.
    Client("ai-sdk-ui", NODE, "ai", "Error", heartbeats=SILENCES[1:], note=", `useChat`"),
    # `runAgent` resolves all the same. It rejects when the connection breaks, and so does a promise that nobody handles.
    Client("ag-ui", NODE, "@ag-ui/client", "RUN_ERROR", killed="RUN_ERROR then TypeError"),
    Client("langchain-openai", PY, "langchain-openai", "APIError"),
    # The connection breaks after the event, for there is none on which it raises.
    Client("cohere", PY, "cohere", "message-end then RemoteProtocolError"),
    # It takes no `id`, and no heartbeat but a blank line.
    Client("gemini", PY, "google-genai", "ServerError", takes_comments=False),
    Client("a2a", PY, "a2a-sdk", "A2AClientError"),
    Client("a2a-0.3", PY, "a2a-sdk", "A2AClientError", note=", protocol 0.3"),
    Client("mcp", PY, "mcp", "MCPError"),
    # There is no heartbeat that a reader of JSON lines takes.
    Client("ollama", PY, "ollama", "ResponseError", heartbeats=()),
    Client("eventsource", NODE, "eventsource", "error event"),
    Client("chromium", NODE, None, "error event"),
]


@contextlib.contextmanager
def stack(padding="0"):
    """A backend with sidestream in front of it, on ports that the kernel gives; yields both."""
    command = [PYTHON, "-m", "uvicorn", "backend:app", "--port", "0", "--log-level", "info"]
    with Process(*command) as backend:
        port = wait_for("uvicorn runs", lambda: backend.said(r"running on http://127.0.0.1:(\d+)"))[1]
        with Sidestream(CONFIGURATION.format(port=port, padding=padding)) as proxy:
            yield backend, proxy


def run(client, padding):
    """Takes a client through all cases, and through the silences with padded heartbeats; returns the cells of its row."""
    cells = drive(client, CASES)
    padded = set(drive(client, SILENCES, padding))
    said = "none sent" if padded == {"none sent"} else "yes" if client.takes_comments else "yes, blank lines"
    print(f"{client.name}: {len(CASES)} cases, and padded heartbeats", flush=True)
    return [*cells, said]


def drive(client, cases, padding="0"):
    """Takes a client through these cases; returns what is to be said of each."""
    said, sent = {case: [] for case in cases}, {}
    with stack(padding) as (backend, proxy), tempfile.TemporaryFile("w+") as errors:
        command = [*client.driver, client.name, proxy.url, *cases]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        with subprocess.Popen(command, cwd=HERE, **pipes, text=True, bufsize=1) as driver:
            timer = threading.Timer(4 * LIMIT, driver.kill)
            timer.start()
            for line in driver.stdout:
                what = json.loads(line)
                said[what["case"]].append(what)
                if "end" in what:
                    sent[what["case"]] = proxy.metric("sidestream_heartbeats_total") - sum(sent.values())
                    print("next", file=driver.stdin)
            timer.cancel()
        try:
            cells = [cell(client, case, said[case], sent.get(case, 0)) for case in cases]
            if "cancelled" in cases:
                wait_for("the generator is cancelled", lambda: backend.said("cancelled: generator cancelled"))
        except AssertionError as error:
            errors.seek(0)
            spoken = "\n".join(json.dumps(line) for lines in said.values() for line in lines)
            raise AssertionError(f"{client.name}: {error}\n{spoken}\n{errors.read()}\n{backend.output()}") from error
    return cells


def cell(client, case, said, sent):
    """What a client made of a case, in which so many heartbeats were sent; fails if that is not as it must be."""
    assert said, f"{case}: nothing was said"
    text, end = "".join(line.get("word", "") for line in said), said[-1]
    if case == "cancelled":
        assert end.get("end") == "left", f"{case}: {end}"
        return "yes"
    if case in BROKEN:
        assert TEXT.startswith(text) and text != TEXT, f"{case}: {text}"
        assert end.get("end") == "error", f"{case}: a broken answer looks like {end}"
        message = end["message"]
        assert BROKEN[case] in message, f"{case}: {message}"
        assert end["type"] == client.errors[case], f"{case}: {end}"
        return " then ".join(f"`{name}`" for name in end["type"].split(" then "))
    assert (text, end.get("end")) == (TEXT, "complete"), f"{case}: {text!r}, {end}"
    if case in SILENCES:
        # Each silence is several heartbeats long.
        assert (sent >= 2) == (case in client.heartbeats), f"{case}: {sent} heartbeats"
        if case not in client.heartbeats:
            return "none sent"
    return "yes" if client.takes_comments or case != "silence_between" else "yes, without `id`"


def curl():
    """The oldest client of all: what it prints is what came."""
    with stack() as (backend, proxy):
        command = ["curl", "-sN", "--max-time", str(LIMIT), f"{proxy.url}/v1/chat/completions", "-d"]
        with subprocess.Popen([*command, '{"model":"complete"}'], stdout=subprocess.PIPE, text=True) as process:
            words = 0
            for line in process.stdout:
                if '"content"' in line:
                    words += 1
                    urllib.request.urlopen(f"{proxy.url}/ack", timeout=LIMIT).close()
        assert process.returncode == 0 and words == 5, (process.returncode, words)
        process = subprocess.Popen([*command, '{"model":"cancelled"}'], stdout=subprocess.PIPE)
        process.stdout.readline()
        process.kill()
        process.communicate()
        wait_for("the generator is cancelled", lambda: backend.said("cancelled: generator cancelled"))
    print("curl: 2 cases", flush=True)


def table(rows):
    head = ["client", *CASES.values(), PADDED]
    lines = [head, ["---"] * len(head), *([client.label(), *cells] for client, cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--padding", default=PADDING)
    parser.add_argument("names", nargs="*", metavar="CLIENT")
    wanted = parser.parse_args()
    clients = [client for client in CLIENTS if not wanted.names or client.name in wanted.names]
    with ThreadPoolExecutor(2) as pool:
        rows = list(zip(clients, pool.map(lambda client: run(client, wanted.padding), clients)))
    if wanted.names or wanted.padding != PADDING:
        return
    curl()
    made, text = table(rows), TABLE.read_text()
    before, rest = text.split("<!-- table -->\n")[0], text.split("<!-- /table -->")[1]
    new = f"{before}<!-- table -->\n{made}\n<!-- /table -->{rest}"
    if wanted.write:
        TABLE.write_text(new)
    assert text == new or wanted.write, f"docs/clients.md is not what this run gave:\n{made}\n  run `make clients`"


if __name__ == "__main__":
    main()
