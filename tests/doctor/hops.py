"""The hops of the chains: real programs, and how the lines that the doctor prints are written into their configuration."""

import importlib.metadata
import re
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from programs import HERE, PYTHON, ROOT, SIDESTREAM, Program, envoy, find

OLD_STARLETTE = ROOT / ".venv-starlette-0.45/bin/python"
LINKED = (HERE / "node_modules", HERE / "apps/relay.py")


@dataclass(frozen=True)
class Hop:
    """A program that passes requests on."""

    # The name of its point.
    name: str
    # Its name in the remedies of the doctor.
    product: str
    # The executable, or the interpreter; `None`: it is not installed.
    program: Path | str | None
    arguments: str
    # The name of its configuration or source, and the text, with @PORT@ and @UPSTREAM@.
    file: str
    text: str
    # Where the lines of a remedy go: a part of the remedy's `where`, and the beginning of the line in `text` that it means. Lines
    # are added below that line, or replace it.
    below: tuple[tuple[str, str], ...] = ()
    instead: tuple[tuple[str, str], ...] = ()
    # Interpreters to choose from where a remedy is a line of a requirements.txt. Each has other versions installed.
    interpreters: tuple[Path, ...] = ()

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
        """Whether a remedy has lines to write, and this hop has the place for them."""
        is_place = any(said in remedy["where"] for said, _ in self.below + self.instead)
        return bool(remedy["write"]) and (is_place or self._is_requirement(remedy))

    def _is_requirement(self, remedy):
        return bool(self.interpreters) and "the requirements" in remedy["where"]

    def with_remedy(self, remedy):
        if self._is_requirement(remedy):
            return self.with_requirement(remedy["write"])
        for said, place in self.instead:
            if said in remedy["where"]:
                return self._put(remedy["write"].splitlines(), place, stays=False)
        return self.with_lines(remedy["write"], next(place for said, place in self.below if said in remedy["where"]))

    def with_requirement(self, line):
        """Run by the first interpreter whose packages meet this line of a requirements.txt."""
        requirement = Requirement(line)
        meeting = (python for python in self.interpreters if _version(requirement.name, python) in requirement.specifier)
        return replace(self, program=next(meeting))

    def with_lines(self, lines, place=None):
        """With these lines below `place`, in place of lines that set the same thing."""
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


def _version(package, python):
    """The version of a package in the virtual environment of an interpreter."""
    paths = [str(path) for path in python.parent.parent.glob("lib/*/site-packages")]
    return next(iter(importlib.metadata.distributions(name=package, path=paths))).version


def _subject(line):
    """The beginning that a line shares with one that sets the same thing."""
    words = line.split()
    of_two = ("option", "timeout", "proxy_set_header")
    if "(" in words[0]:
        # Calls do not replace each other.
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
GZIP = _application("fastapi", "FastAPI, Starlette", OLD_STARLETTE, "compressing.py", interpreters=(OLD_STARLETTE, PYTHON))
ON_HTTPX = "a proxy on httpx, requests or aiohttp"
IN_CHUNKS = _application(
    "python", ON_HTTPX, PYTHON, "in_chunks.py", instead=(("in place of aiter_bytes(chunk_size=…)", "async for chunk in"),)
)
# These two are home-made: what is wrong is in their code, and there is no configuration to write a line into.
ALLOW_LIST = _application("python", ON_HTTPX, PYTHON, "allow_list.py")
HTTP10 = _application("python", "http.server", PYTHON, "http10.py")
