"""What curl makes of a stream: its bytes, how it ended, and the error event at its end."""

import json
import re
import subprocess

from processes import LIMIT

# curl's exit codes: all is there; the transfer is incomplete, over HTTP/1.1 and over HTTP/2; the connection was reset.
WHOLE, PARTIAL, PARTIAL_HTTP2, RESET = 0, 18, 92, 56


def curl(url, *arguments, on_line=lambda line: None):
    """The body, byte for byte, and the exit code."""
    body = ""
    command = ["curl", "-sN", "--max-time", str(LIMIT), *arguments, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            body += line.decode()
            on_line(line.decode())
    return body, process.returncode


def error_after(events, body):
    """The code of the error event that follows these events, and nothing else."""
    assert body.startswith(events), f"{body!r}"
    error = re.fullmatch(r"event: error\ndata: (.+)\n\n", body.removeprefix(events))
    assert error, f"{body!r}"
    data = json.loads(error[1])
    said = {"code": data["code"], "message": data["message"], "param": None}
    assert said["message"], f"{data}"
    error = {"type": "overloaded_error", **said}
    assert data == {"type": "error", "sequence_number": events.count("\n\n"), **said, "error": error}, f"{data}"
    return data["code"]
