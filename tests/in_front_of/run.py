"""The programs of docs/in-front-of behind sidestream, each with the configuration of its page: run.py [--only PAGE ...]

The driver plays the model that the programs call. It sends each word only after the client has received the one before, and it sees
when the program closes its connection to the model.
"""

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from apps import APPS, CHEAP
from model import Model

sys.path.append(str(Path(__file__).parent.parent / "clients"))
from curl import WHOLE  # noqa: E402
from processes import LIMIT, ROOT, Sidestream, arguments, reserved_port, wait_for  # noqa: E402

WORDS = ["Streams ", "are ", "made ", "of ", "events."]


def configurations(page):
    """The configurations of the page, in its order."""
    text = (ROOT / f"docs/in-front-of/{page}.md").read_text()
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def upstream(settings):
    [only] = settings["upstreams"].values()
    return only


def sidestream(settings, server, binary):
    """Runs sidestream with these settings on free ports, in front of this server."""
    settings["listeners"][0]["address"] = "127.0.0.1:0"
    settings["admin"] = {"address": "127.0.0.1:0"}
    upstream(settings)["servers"] = [server]
    return Sidestream(yaml.safe_dump(settings), binary)


class Client:
    """curl, which reads one answer."""

    def __init__(self, url, app, body, *options):
        fields = ["-H", "Content-Type: application/json", "-H", "Accept: text/event-stream", *app.fields]
        command = ["curl", "-sN", "--max-time", str(LIMIT), *fields, *options, "-d", body, url + app.path]
        self._curl = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def event(self):
        """The next event, without the blank line at its end. Comments are no events."""
        event = ""
        for line in iter(self._curl.stdout.readline, ""):
            if line != "\n":
                event += "" if line.startswith(":") else line
            elif event:
                break
        return event.removesuffix("\n")

    def rest(self):
        return self._curl.stdout.read()

    def code(self):
        return self._curl.wait()

    def leave(self):
        self._curl.kill()
        self._curl.wait()


class Stand:
    """One program, the model that it asks, and the sidestream in front of it."""

    def __init__(self, app, process, model, url, proxy, binary):
        self.app, self.process, self.model = app, process, model
        self._url, self._proxy, self._binary = url, proxy, binary
        self._logged = 0

    def ask(self, *options):
        """A client, and the call that the model receives for it."""
        return Client(self._proxy.url, self.app, self.app.body, *options), self.model.call()

    def ask_without_sidestream(self):
        return Client(self._url, self.app, self.app.body_alone), self.model.call()

    def ask_the_doctor(self):
        """`sidestream doctor` while it watches an answer, and the call that the model receives for it."""
        url = self._proxy.url + self.app.path
        command = [self._binary, "doctor", url, *self.app.fields, "-d", self.app.body]
        doctor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return doctor, self.model.call()

    def reads(self, client, call, words):
        """The model sends these words, each after the client has received the one before."""
        for word in words:
            call.say(word)
            event = client.event()
            assert self.app.word(event) == word, f"{event!r} comes for {word!r}"

    def logged(self):
        """The access log's line for the request that has just ended."""

        def lines():
            found = re.findall(r'^{"timestamp".*}$', self._proxy.output(), re.MULTILINE)
            return found if len(found) > self._logged else None

        line = wait_for("the request is logged", lines)[self._logged]
        self._logged += 1
        return json.loads(line)


def each_word_arrives_as_it_is_sent(stand):
    client, call = stand.ask()
    call.begin()
    stand.reads(client, call, WORDS)
    call.finish()
    rest, code, logged = client.rest(), client.code(), stand.logged()
    assert rest.endswith("data: [DONE]\n\n") and code == WHOLE, f"{rest!r}, {code}"
    assert logged["outcome"] == "completed", f"{logged}"
    return logged["dialect"]


def the_header_comes_before_the_answer(stand):
    """Heartbeats can begin only after the header."""
    if not stand.app.sends_header_first:
        return "no"
    client, call = stand.ask("-o", "/dev/null", "-D", "-")
    head = client.event()
    assert head.startswith("HTTP/1.1 200"), head
    client.leave()
    call.closed_by_caller()
    assert stand.logged()["outcome"] == "client_gone"
    return "yes"


def the_doctor_finds_nothing(stand):
    doctor, call = stand.ask_the_doctor()
    call.begin()
    for word in WORDS:
        call.say(word)
    call.finish()
    said, _ = doctor.communicate(timeout=LIMIT)
    assert doctor.returncode == 0 and "a complete answer that came as a stream" in said, said
    assert stand.logged()["outcome"] == "completed"
    return "exit code 0"


def the_model_learns_of_a_client_that_left_before_the_answer(stand):
    client, call = stand.ask()
    client.leave()
    took = call.closed_by_caller()
    assert stand.logged()["outcome"] == "client_gone"
    return f"{took * 1000:.0f} ms"


def the_model_learns_of_a_client_that_left_in_the_answer(stand):
    client, call = stand.ask()
    call.begin()
    stand.reads(client, call, WORDS[:2])
    client.leave()
    took = call.closed_by_caller()
    assert stand.logged()["outcome"] == "client_gone"
    return f"{took * 1000:.0f} ms"


def _breaks(stand, how):
    """Breaks the model, with and without sidestream.

    Returns whether the answer looks complete without it, and what the clients read.
    """
    client, call = stand.ask_without_sidestream()
    call.begin()
    stand.reads(client, call, WORDS[:2])
    how(call)
    rest, code = client.rest(), client.code()
    looks_complete = code == WHOLE and "error" not in rest
    client, call = stand.ask()
    call.begin()
    stand.reads(client, call, WORDS[:2])
    how(call)
    return looks_complete, f"alone {rest!r}, curl {code}; {_failed(stand, client)}"


def _failed(stand, client):
    """Checks that the client reads an error: sidestream's error event, or one that the program sends by itself."""
    rest, code, logged = client.rest(), client.code(), stand.logged()
    if "event: error\n" in rest:
        data = re.search(r"^event: error\ndata: (.*)$", rest, re.MULTILINE)[1]
        assert json.loads(data)["code"] == logged["error.type"], f"{rest!r}, {logged}"
        return f"behind sidestream {logged['error.type']}, curl {code}"
    assert logged["outcome"] == "upstream_error" and '"error"' in rest, f"{rest!r}, {code}, {logged}"
    return f"behind sidestream its own error, {rest!r}, curl {code}"


def a_model_that_breaks_is_an_error(stand):
    looks_complete, said = _breaks(stand, lambda call: call.cut())
    assert not looks_complete, said
    return said


def a_model_that_ends_too_early_is_an_error(stand):
    looks_complete, said = _breaks(stand, lambda call: call.end_early())
    assert looks_complete == stand.app.hides_truncation, said
    return said


def a_program_that_is_killed_is_an_error(stand):
    client, call = stand.ask()
    call.begin()
    stand.reads(client, call, WORDS[:2])
    stand.process.kill()
    call.closed_by_caller()
    said = _failed(stand, client)
    assert "upstream_" in said, said
    return said


# The last case kills the program.
CASES = (
    each_word_arrives_as_it_is_sent,
    the_header_comes_before_the_answer,
    the_doctor_finds_nothing,
    the_model_learns_of_a_client_that_left_before_the_answer,
    the_model_learns_of_a_client_that_left_in_the_answer,
    a_model_that_breaks_is_an_error,
    a_model_that_ends_too_early_is_an_error,
    a_program_that_is_killed_is_an_error,
)


def run(app, binary):
    """One line for each case."""
    front, *behind = configurations(app.page)
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(Model())
        asked = model.url
        if app.has_sidestream_behind:
            asked = stack.enter_context(sidestream(behind[0], asked, binary)).url
        port = stack.enter_context(reserved_port())
        process, url = stack.enter_context(app.start(port, asked, model.url)), f"http://127.0.0.1:{port}"
        wait_for(f"{app.page} is up", lambda: _is_up(process, url + upstream(front)["health"]["path"]))
        proxy = stack.enter_context(sidestream(front, url, binary))
        stand = Stand(app, process, model, url, proxy, binary)
        return "\n".join(f"{app.page}: {case.__name__.replace('_', ' ')}: {_tried(case, stand)}" for case in CASES)


def _tried(case, stand):
    try:
        return case(stand)
    except Exception as error:
        raise AssertionError(f"{stand.app.page}, {case.__name__}: {error}\n{stand.process.output()}") from error


def _is_up(process, url):
    assert process.process.poll() is None, process.output()
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=LIMIT):
        return True
    return False


def main():
    given = arguments(__doc__, ("--only", {"nargs": "+", "choices": APPS, "default": CHEAP, "help": "these pages"}))
    with ThreadPoolExecutor() as pool:
        for said in pool.map(lambda page: run(APPS[page](), given.binary), given.only):
            print(said)


if __name__ == "__main__":
    main()
