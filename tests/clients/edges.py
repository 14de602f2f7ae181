"""POSTs that come just when the backend closes its idle connections: edges.py [--quick]

gunicorn, uvicorn and Node close a connection that was idle for 2 s. The requests of each lane are 1.9 to 2.1 s apart, each lane
has an upstream of its own, so that its connection is as old as its last request, and a POST that was sent once may not be sent
again: every one must be answered with 200.
"""

import http.client
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from processes import LIMIT, PYTHON, Process, Sidestream, arguments, wait_for

LANES, POSTS, QUICK_POSTS = 40, 18, 3
# Seconds; every other request comes near the edge.
EDGE, AROUND, NEAR = 2.0, 0.1, 0.01

GUNICORN = "--chdir apps -b 127.0.0.1:0 -w 1 -k gthread --threads 8 --keep-alive 2 posts:wsgi"
UVICORN = "--app-dir apps --port 0 --timeout-keep-alive 2 posts:asgi"
SERVERS = {
    "gunicorn": (PYTHON, "-m", "gunicorn", *GUNICORN.split()),
    "uvicorn": (PYTHON, "-m", "uvicorn", *UVICORN.split()),
    "node": ("node", "apps/posts.mjs"),
}


def configuration(port):
    upstreams = "\n".join(f'  lane{lane}: {{ servers: ["http://127.0.0.1:{port}"] }}' for lane in range(LANES))
    routes = "\n".join(f"  - {{ match: {{ path: /{lane}/ }}, upstream: lane{lane} }}" for lane in range(LANES))
    return (
        f"listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: off\naccess_log: off\nupstreams:\n{upstreams}\nroutes:\n{routes}\n"
    )


def posts(port, lane, count):
    """How many POSTs of a lane were answered how, the first of which makes the connection."""
    answers, spacing = Counter(), random.Random(lane)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    # Lanes begin one after the other, or the machine is what they wait for.
    time.sleep(lane * EDGE / LANES)
    for number in range(count + 1):
        try:
            client.request("POST", f"/{lane}/", body=b"{}")
            with client.getresponse() as response:
                response.read()
            answers[response.status] += 1
        except (OSError, http.client.HTTPException) as error:
            answers[type(error).__name__] += 1
            client.close()
        # The time that a connection is idle is what is tried.
        around = NEAR if number % 2 else AROUND
        time.sleep(spacing.uniform(EDGE - around, EDGE + around))
    client.close()
    return answers


def run(name, binary, count):
    """The line of a case, and whether all were answered with 200."""
    with Process(*SERVERS[name]) as server:
        address = r"(?:Listening at: http://|running on http://|serving )127\.0\.0\.1:(\d+)"
        port = wait_for(f"{name} serves", lambda: server.said(address))[1]
        with Sidestream(configuration(port), binary) as proxy, ThreadPoolExecutor(LANES) as pool:
            [listener] = proxy.ports(1)
            lanes = list(pool.map(lambda lane: posts(listener, lane, count), range(LANES)))
    answers = sum(lanes, Counter())
    others = {str(answer): times for answer, times in answers.items() if answer != 200}
    line = f"{name}: {answers.total() - LANES} POSTs around {EDGE} s, {sum(others.values())} not answered with 200"
    return f"{line}{f': {others}' if others else ''}", not others


def main():
    given = arguments(__doc__)
    names = ["gunicorn"] if given.quick else list(SERVERS)
    count = QUICK_POSTS if given.quick else POSTS
    is_well = True
    with ThreadPoolExecutor(len(names)) as pool:
        for tried in [pool.submit(run, name, given.binary, count) for name in names]:
            line, all_taken = tried.result()
            print(line, flush=True)
            is_well &= all_taken
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
