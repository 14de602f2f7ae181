"""Other proxies in front of the same backend, set up for event streams as their users would, for comparison.

Where CADDY or ENVOY do not name them, they are looked for in .venv-peers, where `make bench` installs them.
"""

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from processes import ROOT, Process, wait_for

PEERS = ("nginx", "haproxy", "caddy", "envoy")

NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream app {{ server 127.0.0.1:{backend}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate {certificate.certificate};
    ssl_certificate_key {certificate.key};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""

HAPROXY = """
defaults
  mode http
  option http-no-delay
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {certificate.both} alpn h2,http/1.1
  default_backend app
backend app
  server app 127.0.0.1:{backend}
"""

CADDY = """
{{
	admin off
	auto_https off
	persist_config off
	skip_install_trust
	log {{
		level ERROR
	}}
}}
(app) {{
	reverse_proxy 127.0.0.1:{backend} {{
		flush_interval -1
	}}
}}
http://:{plain} {{
	bind 127.0.0.1
	import app
}}
https://127.0.0.1:{tls} {{
	bind 127.0.0.1
	tls {certificate.certificate} {certificate.key}
	import app
}}
"""

ENVOY = """
static_resources:
  listeners:
    - name: plain
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {plain} }} }}
      filter_chains:
        - filters: &filters
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: clients
                codec_type: AUTO
                stream_idle_timeout: 0s
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ['*']
                      routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app, timeout: 0s }} }}]
    - name: tls
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {tls} }} }}
      filter_chains:
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates: [{{ certificate_chain: {{ filename: {certificate.certificate} }}, private_key: {{ filename: {certificate.key} }} }}]
          filters: *filters
  clusters:
    - name: app
      type: STATIC
      connect_timeout: 5s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{ {protocol}: {{}} }}
      load_assignment:
        cluster_name: app
        endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }} }}] }}]
"""


def _caddy():
    return os.environ.get("CADDY") or ROOT / ".venv-peers/bin/caddy"


def _envoy():
    found = sorted(ROOT.glob(".venv-peers/lib/*/site-packages/envoy/_bin/envoy"))
    return os.environ.get("ENVOY") or (found[0] if found else "envoy")


# Program, configuration, and the command line, given the program, its folder and its file.
PROGRAMS = {
    "nginx": (lambda: "nginx", NGINX, lambda program, folder, file: [program, "-e", "stderr", "-p", folder, "-c", file]),
    "haproxy": (lambda: "haproxy", HAPROXY, lambda program, _, file: [program, "-db", "-f", file]),
    "caddy": (_caddy, CADDY, lambda program, _, file: [program, "run", "--adapter", "caddyfile", "--config", file]),
    "envoy": (
        _envoy,
        ENVOY,
        lambda program, _, file: [program, "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "-l", "critical"],
    ),
}


def _free_ports(count):
    """Ports that were free a moment ago: these programs cannot say which one the kernel gave them."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def peer(name, backend, certificate, http2_upstream=False):
    """One of PEERS in front of the backend on this port; yields its ports, plaintext and TLS."""
    find, configuration, command = PROGRAMS[name]
    program = shutil.which(find()) or shutil.which(f"/usr/sbin/{name}")
    assert program, f"{name} is not installed"
    plain, tls = _free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "configuration")
        if name == "envoy":
            file = file.with_suffix(".yaml")
        protocol = "http2_protocol_options" if http2_upstream else "http_protocol_options"
        file.write_text(
            configuration.format(backend=backend, plain=plain, tls=tls, certificate=certificate, protocol=protocol)
        )
        environment = os.environ | {"XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        with Process(*command(program, folder, file), env=environment) as process:
            wait_for(f"{name} listens: {process.output()}", lambda: _listens(plain) and _listens(tls))
            yield plain, tls
