"""uvicorn with FastAPI, the openai and anthropic clients and curl, with sidestream between them."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anthropic
import openai

HERE = Path(__file__).parent
TEXT = "Streams are made of events."
LIMIT = 30


def wait_for(what, condition):
    """Waits for a condition, and fails loudly if it does not come."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"this did not happen within {LIMIT} s: {what}")


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Process:
    """A program whose standard error can be read while it runs."""

    def __init__(self, *command):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self.log, stdout=self.log, cwd=HERE)

    def said(self, pattern):
        return re.search(pattern, Path(self.log.name).read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def stack():
    """A backend with sidestream in front of it, on ports that the kernel gives; yields both and the base URL."""
    command = [sys.executable, "-m", "uvicorn", "backend:app", "--port", "0", "--log-level", "info"]
    with Process(*command) as backend:
        port = int(wait_for("uvicorn runs", lambda: backend.said(r"running on http://127.0.0.1:(\d+)"))[1])
        arguments = ["--upstream", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0", "--admin", "off"]
        with Process(os.environ["SIDESTREAM"], "run", *arguments) as proxy:
            found = wait_for("sidestream runs", lambda: proxy.said(r"listening.*127\.0\.0\.1:(\d+)"))
            yield backend, f"http://127.0.0.1:{found[1]}"


def chat(url, max_tokens=1, die=False):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=LIMIT)
    headers = {"X-Die": "1"} if die else {}
    question = [{"role": "user", "content": "?"}]
    return client.chat.completions.create(
        model="m", messages=question, max_tokens=max_tokens, stream=True, extra_headers=headers
    )


def message(url, max_tokens=1, die=False):
    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=LIMIT)
    headers = {"X-Die": "1"} if die else {}
    question = [{"role": "user", "content": "?"}]
    return client.messages.create(
        model="m", messages=question, max_tokens=max_tokens, stream=True, extra_headers=headers
    )


def chat_words(stream):
    for event in stream:
        if event.choices[0].delta.content:
            yield event.choices[0].delta.content


def message_words(stream):
    for event in stream:
        if event.type == "content_block_delta":
            yield event.delta.text


CLIENTS = [
    ("openai", "chat", chat, chat_words, openai.APIError),
    ("anthropic", "messages", message, message_words, anthropic.APIStatusError),
]


def transcript_is_complete_and_spread_over_time(name, route, ask, words, _):
    with stack() as (_, url):
        arrived = [(time.monotonic(), word) for word in words(ask(url))]
        assert "".join(word for _, word in arrived) == TEXT, arrived
        gaps = [b[0] - a[0] for a, b in zip(arrived, arrived[1:])]
        # Sent 100 ms apart. Buffered they would come together.
        assert all(gap > 0.03 for gap in gaps), (name, gaps)


def leaving_cancels_the_generator(name, route, ask, words, _):
    with stack() as (backend, url):
        stream = ask(url, max_tokens=200)
        next(words(stream))
        stream.close()
        wait_for(f"{name} left and {route} is cancelled", lambda: backend.said(f"{route}: generator cancelled"))


def a_killed_backend_raises_the_typed_error(name, route, ask, words, error):
    with stack() as (_, url):
        got = []
        try:
            for word in words(ask(url, die=True)):
                got.append(word)
        except error as raised:
            assert "before the answer was complete" in str(raised), (name, raised)
        else:
            raise AssertionError(f"{name}: a truncated answer looks complete: {got}")


def curl_shows_events_as_they_come():
    with stack() as (backend, url):
        body = '{"stream": true, "max_tokens": 1}'
        command = ["curl", "-sN", "--max-time", str(LIMIT), f"{url}/v1/chat/completions", "-d", body]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
            times = [time.monotonic() for line in curl.stdout if line.startswith("data: ")]
        assert curl.returncode == 0
        assert len(times) == 7 and times[-1] - times[0] > 0.4, times
        curl = subprocess.Popen([*command[:-1], '{"max_tokens": 200}'], stdout=subprocess.PIPE)
        curl.stdout.readline()
        curl.kill()
        curl.communicate()
        wait_for("curl left and chat is cancelled", lambda: backend.said("chat: generator cancelled"))


def main():
    for client in CLIENTS:
        for test in (
            transcript_is_complete_and_spread_over_time,
            leaving_cancels_the_generator,
            a_killed_backend_raises_the_typed_error,
        ):
            test(*client)
            print(f"{client[0]}: {test.__name__}", flush=True)
    curl_shows_events_as_they_come()
    print("curl: curl_shows_events_as_they_come")


if __name__ == "__main__":
    main()
