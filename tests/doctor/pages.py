"""The pages of docs/behind/: the configurations on them, with this machine's addresses and paths."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import yaml
from hops import CADDY, ENVOY, HAPROXY, NGINX, Hop
from programs import HERE, ROOT

FOLDER = ROOT / "docs/behind"
SIDESTREAM_FILE = "/etc/sidestream/sidestream.yaml"
SIDESTREAM = "127.0.0.1:8080"
CERTIFICATE, KEY = "/etc/ssl/chat.example.com.pem", "/etc/ssl/chat.example.com.key"


@dataclass(frozen=True)
class Page:
    """A page, and how its product is run here."""

    name: str
    hop: Hop
    # With these names the two configurations begin.
    file: str
    # What stands here in place of what is on the page, with @PORT@, @SIDESTREAM@, @CERTIFICATE@, @KEY@ and @BOTH@.
    instead: dict[str, str]
    # Makes the product's own configuration of what is on the page.
    made: Callable[[str], str] = lambda text: text
    # What may stay broken over HTTP/2, as the page says: not in all versions.
    over_http2: frozenset[str] = frozenset()

    def product(self, port, sidestream, certificate):
        values = {
            "@PORT@": port,
            "@SIDESTREAM@": f"127.0.0.1:{sidestream}",
            "@SIDESTREAM_PORT@": sidestream,
            "@CERTIFICATE@": certificate.certificate,
            "@KEY@": certificate.key,
            "@BOTH@": certificate.both,
        }
        return replaced(replaced(self.made(self._block(self.file)), self.instead), values, may_lack=True)

    def sidestream(self, port, origin, more):
        """`more`: further keys of its listener."""
        configuration = yaml.safe_load(self._block(SIDESTREAM_FILE))
        configuration["listeners"][0] |= {"address": f"127.0.0.1:{port}", "trusted_proxies": ["127.0.0.1"], **more}
        configuration["upstreams"]["llm"]["servers"] = [f"http://{origin}"]
        configuration["admin"] = {"address": "off"}
        return yaml.safe_dump(configuration)

    def _block(self, file):
        text = (FOLDER / f"{self.name}.md").read_text()
        found = re.search(rf"^```\w+\n(# {re.escape(file)}\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert found, f"docs/behind/{self.name}.md has no configuration that begins with `# {file}`"
        return found[1]


def replaced(text, instead, may_lack=False):
    for before, after in instead.items():
        assert may_lack or before in text, f"`{before}` is not in\n{text}"
        text = text.replace(before, str(after))
    return text


# The directives that come from annotations (rootfs/etc/nginx/template/nginx.tmpl of the controller), and the values without them.
ANNOTATIONS = {
    "proxy-read-timeout": ("proxy_read_timeout {}s;", "60"),
    "proxy-send-timeout": ("proxy_send_timeout {}s;", "60"),
    "proxy-body-size": ("client_max_body_size {};", "1m"),
    "proxy-buffering": ("proxy_buffering {};", "off"),
    "proxy-http-version": ("proxy_http_version {};", "1.1"),
}


def of_controller(text):
    """The configuration of nginx that the controller makes of an Ingress."""
    ingress = next(document for document in yaml.safe_load_all(text) if document["kind"] == "Ingress")
    given = {name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in ingress["metadata"]["annotations"].items()}
    unknown = given.keys() - ANNOTATIONS.keys()
    assert not unknown, f"it is not known here what the controller makes of {unknown}"
    directives = [directive.format(given.get(name, default)) for name, (directive, default) in ANNOTATIONS.items()]
    return (HERE / "configs/ingress-nginx.conf").read_text().replace("@DIRECTIVES@", "\n      ".join(directives))


# What nginx writes goes into its folder, and it is one process that ends with the test.
NGINX_HERE = {
    "events {}": "daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {}",
    "http {\n": "http { access_log off; client_body_temp_path body; proxy_temp_path proxy;"
    " fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n",
}

PAGES = [
    Page(
        "nginx",
        NGINX,
        "/etc/nginx/nginx.conf",
        {"listen 443": "listen 127.0.0.1:@PORT@", SIDESTREAM: "@SIDESTREAM@", CERTIFICATE: "@CERTIFICATE@", KEY: "@KEY@", **NGINX_HERE},
        over_http2=frozenset({"late_header"}),
    ),
    Page(
        "ingress-nginx",
        NGINX,
        "ingress.yaml",
        {},
        made=of_controller,
        over_http2=frozenset({"late_header"}),
    ),
    Page(
        "haproxy",
        HAPROXY,
        "/etc/haproxy/haproxy.cfg",
        {"bind :443": "bind 127.0.0.1:@PORT@", SIDESTREAM: "@SIDESTREAM@", CERTIFICATE: "@BOTH@"},
        over_http2=frozenset({"cut_looks_complete"}),
    ),
    Page(
        "caddy",
        # Its package has it inside, too.
        replace(CADDY, program=CADDY.program or ROOT / ".venv-peers/bin/caddy"),
        "/etc/caddy/Caddyfile",
        {
            "chat.example.com {": "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n"
            "https://127.0.0.1:@PORT@ {\n\tbind 127.0.0.1\n\ttls @CERTIFICATE@ @KEY@",
            SIDESTREAM: "@SIDESTREAM@",
        },
    ),
    Page(
        "envoy",
        ENVOY,
        "/etc/envoy/envoy.yaml",
        {
            "address: 0.0.0.0, port_value: 443": "address: 127.0.0.1, port_value: @PORT@",
            "port_value: 8080": "port_value: @SIDESTREAM_PORT@",
            CERTIFICATE: "@CERTIFICATE@",
            KEY: "@KEY@",
        },
    ),
]
