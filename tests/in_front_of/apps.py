"""The programs of the pages: how to start and call each, and how to read a word from its events."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "clients"))
from processes import PYTHON, ROOT, Process  # noqa: E402

HERE = Path(__file__).parent
NEXT = HERE / "node_modules/next/dist/bin/next"
LITELLM = ROOT / ".venv-litellm/bin/litellm"


class App(Process):
    """A program with its child processes. It calls this model."""

    def __init__(self, command, model, **environment):
        environment = os.environ | {"MODEL": model, "NEXT_TELEMETRY_DISABLED": "1"} | environment
        super().__init__(*command, env=environment, start_new_session=True)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


class Chat:
    """One of the chats in this folder, which stream tokens in a form of their own."""

    has_sidestream_behind = False
    # Its response header goes out before the first token.
    sends_header_first = True
    # Without sidestream, an answer whose model ends too early looks complete.
    hides_truncation = False
    path = "/chat"
    body = body_alone = json.dumps({"prompt": "hello"})
    fields = ()

    def word(self, event):
        return json.loads(event.removeprefix("data: "))["token"]


class FastAPI(Chat):
    page = "fastapi"
    hides_truncation = True

    def start(self, port, model, _):
        return App([PYTHON, "-m", "uvicorn", "--app-dir", HERE, "--port", str(port), "fastapi_app:app"], model)


class Express(Chat):
    page = "express"

    def start(self, port, model, _):
        return App(["node", HERE / "express_app.mjs", str(port)], model)


class Next(Chat):
    page = "nextjs"
    sends_header_first = False

    def start(self, port, model, _):
        self._build()
        return App(["node", NEXT, "start", HERE, "-H", "127.0.0.1", "-p", str(port)], model)

    def _build(self):
        """Builds again only if a source is newer than the last build."""
        built = HERE / ".next/BUILD_ID"
        sources = [HERE / "package-lock.json", HERE / "tokens.mjs", *HERE.glob("app/*/*")]
        if built.exists() and all(source.stat().st_mtime < built.stat().st_mtime for source in sources):
            return
        environment = os.environ | {"NEXT_TELEMETRY_DISABLED": "1"}
        subprocess.run(["node", NEXT, "build", HERE], env=environment, check=True, stdout=subprocess.DEVNULL)


class LiteLLM:
    """It runs between two sidestreams: docs/in-front-of/litellm.md says why."""

    page = "litellm"
    has_sidestream_behind = True
    sends_header_first = False
    hides_truncation = True
    # It does not start without a key.
    key = "sk-0123456789abcdef0123456789abcdef"
    fields = ("-H", f"Authorization: Bearer {key}")
    path = "/v1/chat/completions"
    _messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": "any", "stream": True, "messages": _messages})
    body_alone = json.dumps({"model": "alone", "stream": True, "messages": _messages})

    def start(self, port, model, alone):
        command = [LITELLM, "--config", HERE / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
        # Otherwise it fetches its price list over the network at start.
        environment = {"LITELLM_MASTER_KEY": self.key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return App(command, f"{model}/v1", ALONE=f"{alone}/v1", **environment)

    def word(self, event):
        return json.loads(event.removeprefix("data: "))["choices"][0]["delta"].get("content")


APPS = {app.page: app for app in (FastAPI, Express, Next, LiteLLM)}
# Those of `make test`. LiteLLM takes a minute to install.
CHEAP = [FastAPI.page, Express.page, Next.page]
