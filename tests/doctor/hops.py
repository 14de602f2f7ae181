"""The hops of the chains: real programs, and how the lines that the doctor says are written into their configuration."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from programs import HERE, ROOT, SIDESTREAM, Program, envoy, find

PYTHON = ROOT / ".venv/bin/python"
OLD_STARLETTE = ROOT / ".venv-starlette-0.45/bin/python"
LINKED = (HERE / "node_modules", HERE / "apps/relay.py")


@dataclass(frozen=True)
class Hop:
    """A program that passes requests on."""

    # Of its point.
    name: str
    # As the remedies of the doctor call it.
    product: str
    # What it is run by; `None`: it is not installed.
    program: Path | str | None
    arguments: str
    # The name of its configuration, or of its source, and what is in it, with @PORT@ and @UPSTREAM@.
    file: str
    text: str
    # Where lines go: of what a remedy says of it, a part, and the beginning of the line there.
    below: tuple[tuple[str, str], ...] = ()
    instead: tuple[tuple[str, str], ...] = ()

    @property
    def is_installed(self):
        return self.program is not None and Path(self.program).exists()

    def named(self, name):
        return replace(self, name=name)

    def start(self, port, upstream):
        text = self.text.replace("@PORT@", str(port)).replace("@UPSTREAM@", str(upstream))
        arguments = self.arguments.format(file=self.file, port=port, upstream=upstream).split()
        return Program([str(self.program), *arguments], {self.file: text}, LINKED)

    def takes(self, remedy):
        """Whether a remedy is lines for a place that is here."""
        return bool(remedy["write"]) and any(said in remedy["where"] for said, _ in self.below + self.instead)

    def with_remedy(self, remedy):
        for said, place in self.instead:
            if said in remedy["where"]:
                return self._put(remedy["write"].splitlines(), place, stays=False)
        return self.with_lines(remedy["write"], next(place for said, place in self.below if said in remedy["where"]))

    def with_lines(self, lines, place=None):
        """With these lines below this one, and without those that say otherwise."""
        text, lines = self.text, lines.splitlines()
        for line in lines:
            text = re.sub(rf"^[ \t]*{_subject(line)}.*\n", "", text, flags=re.MULTILINE)
        return replace(self, text=text)._put(lines, place or self.below[0][1], stays=True)

    def _put(self, lines, place, stays):
        found = re.search(rf"^([ \t]*){re.escape(place)}.*\n", self.text, re.MULTILINE)
        assert found, f"{self.name}: `{place}` is not in its {self.file}"
        new = "".join(f"{found[1]}{'  ' if stays else ''}{line}\n" for line in lines)
        before = self.text[: found.end() if stays else found.start()]
        return replace(self, text=before + new + self.text[found.end() :])


def _subject(line):
    """What a line has in common with one that says otherwise."""
    words = line.split()
    of_two = ("option", "timeout", "proxy_set_header")
    if "(" in words[0]:
        # A call says what it says beside others.
        return re.escape(line)
    return re.escape(" ".join(words[: 2 if words[0] in of_two else 1])) + r"(?![\w-])"


def _configured(name, product, program, arguments, file, **places):
    return Hop(name, product, program, arguments, file, (HERE / "configs" / file).read_text(), **places)


def _application(name, product, program, file, **places):
    text = (HERE / "apps" / file).read_text()
    return Hop(name, product, program, "{file} {port} {upstream}", file, text, **places)


NGINX = _configured(
    "nginx", "nginx", find("nginx"), "-e stderr -p . -c {file}", "nginx.conf", below=(("location", "location / {"),)
)
HAPROXY = _configured("haproxy", "HAProxy", find("haproxy"), "-db -f {file}", "haproxy.cfg", below=(("defaults", "defaults"),))
CADDY = _configured(
    "caddy",
    "Caddy",
    find("caddy"),
    "run --adapter caddyfile --config {file}",
    "Caddyfile",
    below=(("reverse_proxy", "reverse_proxy"),),
    instead=(("in place of `encode`", "encode"),),
)
ENVOY = _configured(
    "envoy", "Envoy", envoy(), "--disable-hot-restart -l error -c {file}", "envoy.yaml", below=(("route's `route:`", "route:"),)
)
SIDESTREAM_HOP = _configured("sidestream", "sidestream", SIDESTREAM, "run --config {file}", "sidestream.yaml")
EXPRESS = _application(
    "express",
    "Express",
    find("node"),
    "compressing.mjs",
    below=(("the options of createProxyMiddleware", "createProxyMiddleware({"),),
    instead=(("in place of app.use(compression())", "app.use(compression())"),),
)
NODE_PROXY = _application(
    "node",
    "http-proxy (Node.js)",
    find("node"),
    "outliving.mjs",
    below=(("after httpProxy.createProxyServer", "const proxy = httpProxy.createProxyServer"),),
)
GZIP = _application("fastapi", "FastAPI, Starlette", OLD_STARLETTE, "compressing.py")
ON_HTTPX = "a proxy on httpx, requests or aiohttp"
IN_CHUNKS = _application(
    "python", ON_HTTPX, PYTHON, "in_chunks.py", instead=(("in place of aiter_bytes(chunk_size=…)", "async for chunk in"),)
)
ALLOW_LIST = _application("python", ON_HTTPX, PYTHON, "allow_list.py")
HTTP10 = _application("python", "http.server", PYTHON, "http10.py")
