"""Streams in a dialect that nobody knows end early, and whoever reads them notices: reconnects.py

curl and httpx see an error event and then a broken transfer, over HTTP/1.1 and over HTTP/2. What a page reads events with is
told of the error, connects again, and has the rest.
"""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

from curl import PARTIAL, PARTIAL_HTTP2, RESET, WHOLE, curl, error_after
from processes import HERE, KEYED_ROUTE, LIMIT, Sidestream, wait_for
from scripted import Scripted, serving

TICK = "id: 1\nretry: 50\nevent: tick\ndata: one\n\n"
TOCK = "id: 2\nevent: tick\ndata: two\n\n"
# Path, how curl ends without sidestream, and the code of the error with it; None: the stream counts as complete.
CASES = [
    ("/reset", RESET, "upstream_reset"),
    ("/cut", PARTIAL, "upstream_closed"),
    ("/clean", WHOLE, None),
    ("/keyed/clean", WHOLE, "upstream_truncated"),
]
CLIENTS = ("eventsource", "@microsoft/fetch-event-source")


class Server(Scripted):
    """Ends its stream after one event, in the way that the path names, and goes on when it is asked for the rest."""

    def do_GET(self):
        if self.headers.get("Last-Event-ID") == "1":
            return self.stream([TOCK.encode()], "stay")
        self.stream([TICK.encode()], self.path.rpartition("/")[2])


def httpx_http2(url):
    """The body, byte for byte, and whether the stream was reset."""
    import httpx

    body = b""
    try:
        with httpx.Client(http1=False, http2=True, timeout=LIMIT) as client, client.stream("GET", url) as response:
            for part in response.iter_raw():
                body += part
    except httpx.RemoteProtocolError:
        return body.decode(), True
    return body.decode(), False


def readers(server, proxy, path, ended, error):
    """Whoever reads bytes has the event, the error event, and then a failure."""

    def is_as_it_must_be(body):
        return error_after(TICK, body) == error if error else body == TICK

    direct = curl(server + path)
    assert direct == (TICK, ended), f"{path}: {direct}"
    body, code = curl(proxy + path, "--http1.1")
    assert code == (PARTIAL if error else WHOLE) and is_as_it_must_be(body), f"{path}, HTTP/1.1: {body!r}, {code}"
    body, is_reset = httpx_http2(proxy + path)
    assert is_reset == bool(error) and is_as_it_must_be(body), f"{path}, HTTP/2: {body!r}, {is_reset}"
    body, code = curl(proxy + path, "--http2-prior-knowledge")
    assert code == (PARTIAL_HTTP2 if error else WHOLE) and is_as_it_must_be(body), f"{path}, HTTP/2: {body!r}, {code}"


def sees(client, url):
    """What a client is told until it has both events, or believes to have all there is."""
    command = ["node", HERE / "reconnects.mjs", client, url]
    process = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def clients(server, proxy, path, ended, error):
    for client in CLIENTS:
        # fetch-event-source takes a clean end for the end.
        is_over = client == CLIENTS[1] and ended == WHOLE
        rest = ["closed"] if is_over else ["lost", "two"]
        direct, through = sees(client, server + path), sees(client, proxy + path)
        assert direct == ["one", *rest], f"{client} at {path}, without sidestream: {direct}"
        expected = ["one", f"error {error}", "lost", "two"] if error else ["one", *rest]
        assert through == expected, f"{client} at {path}: {through}"


def main():
    with serving(Server) as server, Sidestream(KEYED_ROUTE.format(terminal="event:over", server=server)) as proxy:
        with ThreadPoolExecutor(4) as pool:
            for tried in [pool.submit(look, server, proxy.url, *case) for look in (readers, clients) for case in CASES]:
                tried.result()
        wait_for("every stream has ended", lambda: proxy.metric("sidestream_streams_active") == 0)
    print(f"curl, httpx, {', '.join(CLIENTS)}: {len(CASES)} ends each, with and without sidestream")


if __name__ == "__main__":
    main()
