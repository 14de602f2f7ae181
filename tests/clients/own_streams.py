"""Applications that stream tokens in a form of their own, on real servers, behind sidestream: own_streams.py

Each is taken through a whole stream, one in whose middle it raises, and one whose worker is killed with half an event on the
wire: by itself, through a route without `terminal`, and through one with it.
"""

import contextlib
import os
import pwd
import re
import signal
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from curl import PARTIAL, RESET, WHOLE, curl, error_after
from processes import HERE, KEYED_ROUTE, PYTHON, Process, Sidestream, wait_for

APPS = HERE / "apps"
PLAIN, KEYED = "default", "/keyed/"
OUTCOMES = ("completed", "upstream_truncated", "upstream_reset", "upstream_error", "client_gone")
WORDS = ["Streams ", "are ", "made ", "of ", "events."]
HALF = 'data: {"token"'


def token(text):
    return f'data: {{"token":"{text}"}}\n\n'


class Workers(Process):
    """A program whose workers end with it."""

    def __init__(self, *command):
        super().__init__(*command, start_new_session=True)

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        super().__exit__()


class Missing(Exception):
    """A program is not installed."""


def server_program(pattern):
    """A program of this name, also where Debian has servers, which is not on everybody's path."""
    for folder in [*os.get_exec_path(), "/usr/sbin"]:
        for found in sorted(Path(folder).glob(pattern)):
            return found
    raise Missing(f"{pattern} is not installed")


@contextlib.contextmanager
def tornado():
    with Workers(PYTHON, APPS / "tornado_app.py") as app:
        address = wait_for("Tornado serves", lambda: app.said(r"serving (\S+)"))[1]
        yield f"http://{address}", app, "killed by signal 9, restarting"


@contextlib.contextmanager
def hono():
    with Workers("node", APPS / "hono_app.mjs") as app:
        address = wait_for("Hono serves", lambda: app.said(r"serving (\S+)"))[1]
        yield f"http://{address}", app, "a worker was replaced"


@contextlib.contextmanager
def php():
    fpm, nginx = server_program("php-fpm*"), server_program("nginx")
    with tempfile.TemporaryDirectory() as folder:
        # Started by root, php-fpm wants to be told whose its workers are.
        values = {"FOLDER": folder, "APPS": str(APPS), "USER": pwd.getpwuid(os.getuid()).pw_name}
        for name in ("php-fpm.conf", "nginx.conf"):
            text = re.sub("|".join(values), lambda found: values[found[0]], (APPS / name).read_text())
            Path(folder, name).write_text(text)
        # It says what happens on standard error, root may run it too, and no settings of this system are read.
        with (
            Workers(fpm, "--force-stderr", "--allow-to-run-as-root", "-n", "-y", f"{folder}/php-fpm.conf") as app,
            Process(nginx, "-e", "stderr", "-p", folder, "-c", f"{folder}/nginx.conf"),
        ):
            wait_for("php-fpm serves", lambda: app.said("ready to handle connections"))
            wait_for("nginx serves", lambda: Path(folder, "nginx.sock").exists())
            yield f"unix:{folder}/nginx.sock", app, "exited on signal 9"


def read(server, path):
    """The body, byte for byte, and how curl ended. A worker that says in a token who it is is killed."""

    def kill_who_says_so(line):
        if worker := re.match(r'data: {"token":"(\d+)"}', line):
            os.kill(int(worker[1]), signal.SIGKILL)

    socket = ["--unix-socket", server.removeprefix("unix:")] if server.startswith("unix:") else []
    return curl(("http://app" if socket else server) + path, *socket, on_line=kill_who_says_so)


class Route:
    """A route of sidestream, and what its metrics have counted."""

    def __init__(self, proxy, name, prefix):
        self.proxy, self.name, self.prefix = proxy, name, prefix

    def counted(self):
        """Streams by outcome, and times to the first event and to the first token."""

        def count(name, **labels):
            return self.proxy.metric(f"sidestream_{name}", route=self.name, **labels)

        ended = Counter({outcome: count("streams_total", outcome=outcome) for outcome in OUTCOMES})
        return ended, [count(f"time_to_first_{what}_seconds_count") for what in ("event", "token")]

    def stream(self, case):
        """The body, how curl ended, and the outcome. Fails if there is not one time to the first token."""
        ended, first = self.counted()
        body, code = read(self.proxy.url, self.prefix + case)
        wait_for("the stream is counted", lambda: self.counted()[0] != ended)
        now, first_now = self.counted()
        assert first_now == [count + 1 for count in first], f"{case}: {first}, {first_now}"
        [(outcome, count)] = (now - ended).items()
        assert count == 1, f"{case}: {outcome} {count} times"
        return body, code, outcome


def whole(server, routes, _):
    body = "".join(map(token, WORDS)) + "data: [DONE]\n\n"
    direct = read(server, "/whole")
    assert direct == (body, WHOLE), f"{direct}"
    # Twice, so that a hint that is given each time shows.
    for route in [*routes, *routes]:
        seen = route.stream("whole")
        assert seen == (body, WHOLE, "completed"), f"{route.name}: {seen}"


def raises(server, routes, _):
    """All of these servers end their response as if nothing had happened."""
    body = "".join(map(token, WORDS[:2]))
    direct = read(server, "/raises")
    assert direct == (body, WHOLE), f"{direct}"
    plain, keyed = [route.stream("raises") for route in routes]
    assert plain == (body, WHOLE, "completed"), f"{plain}"
    assert keyed[1:] == (PARTIAL, "upstream_truncated"), f"{keyed}"
    assert error_after(body, keyed[0]) == "upstream_truncated", f"{keyed}"


def killed(server, routes, is_replaced):
    def events_of(body):
        """Two words, and who was killed."""
        pattern = re.escape("".join(map(token, [*WORDS[:2], "WORKER"]))).replace("WORKER", r"\d+")
        return re.match(pattern, body)[0]

    body, code = read(server, "/killed")
    assert body == events_of(body) + HALF and code in (PARTIAL, RESET), f"{body!r}, {code}"
    is_replaced(1)
    for number, route in enumerate(routes, 2):
        body, *ended = route.stream("killed")
        is_replaced(number)
        assert ended == [PARTIAL, "upstream_reset"], f"{route.name}: {body!r}, {ended}"
        assert error_after(events_of(body), body) in ("upstream_closed", "upstream_reset"), f"{body!r}"


def hints(proxy):
    """Once, at info level, for the route whose streams end with [DONE] though nothing says that they must."""
    lines = [line for line in proxy.output().splitlines() if "terminal" in line]
    assert len(lines) == 1 and "INFO" in lines[0] and PLAIN in lines[0], f"{lines}"


def run(start):
    with start() as (server, app, replaced):
        try:
            with Sidestream(KEYED_ROUTE.format(terminal="[DONE]", server=server)) as proxy:
                routes = [Route(proxy, PLAIN, "/"), Route(proxy, KEYED, KEYED)]

                def is_replaced(times):
                    wait_for("the worker is replaced", lambda: len(re.findall(replaced, app.output())) == times)

                for case in (whole, raises, killed, whole):
                    case(server, routes, is_replaced)
                hints(proxy)
        except AssertionError as error:
            raise AssertionError(f"{start.__name__}: {error}\n{app.output()}") from error
    print(f"{start.__name__}: {whole.__name__}, {raises.__name__}, {killed.__name__}")


def main():
    with ThreadPoolExecutor(3) as pool:
        for start, tried in [(start, pool.submit(run, start)) for start in (tornado, hono, php)]:
            try:
                tried.result()
            except Missing as error:
                print(f"{start.__name__} was not tried: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
