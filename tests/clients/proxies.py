"""Model servers that can be killed, and the proxies in front of them: sidestream, nginx, HAProxy."""

import contextlib
import shutil
import signal
import socket
import tempfile

from processes import PYTHON, HERE, Process, Sidestream, reserved_port, wait_for

CONFIGURATION = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
access_log: off
upstreams: {{ llm: {{ servers: [{servers}], {keys} }} }}
"""
NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream llm {{ {balance} {servers} keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://llm; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout queue 30s
  option http-no-delay
listen llm
  bind 127.0.0.1:{port}
  balance {balance}
  option redispatch
  {servers}
"""


class Server:
    """A model server that can be killed, and come back on its port."""

    def __init__(self, port, name, *options):
        self.port, self.name, self.options = port, name, options
        self.start()

    def start(self):
        self.process = Process(PYTHON, HERE / "apps/model.py", str(self.port), self.name, *self.options)
        wait_for("the server serves", lambda: answers(self.port))

    def stop(self, how=signal.SIGTERM):
        self.process.process.send_signal(how)
        self.process.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.__exit__()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def servers(*options):
    """Model servers, one for each of these lists of options."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(reserved_port()) for _ in options]
        yield [stack.enter_context(Server(port, f"s{n}", *given)) for n, (port, given) in enumerate(zip(ports, options))]


@contextlib.contextmanager
def sidestream(group, binary, keys=""):
    urls = ", ".join(f"'http://127.0.0.1:{server.port}'" for server in group)
    with Sidestream(CONFIGURATION.format(servers=urls, keys=keys), binary) as proxy:
        proxy.port = proxy.ports(1)[0]
        yield proxy


@contextlib.contextmanager
def other(program, group, balance, keys=""):
    """nginx or HAProxy, the latter with these keys for each server, in front of the same servers; None where it is not installed."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:
        if not found:
            yield None
            return
        if program == "nginx":
            lines = " ".join(f"server 127.0.0.1:{server.port};" for server in group)
            text = NGINX.format(folder=folder, port=port, balance=balance, servers=lines)
            command = [found, "-c", f"{folder}/conf", "-p", folder]
        else:
            lines = "\n  ".join(f"server {server.name} 127.0.0.1:{server.port} check inter 2s {keys}" for server in group)
            text = HAPROXY.format(port=port, balance=balance, servers=lines)
            command = [found, "-db", "-f", f"{folder}/conf"]
        with open(f"{folder}/conf", "w") as file:
            file.write(text)
        with Process(*command) as process:
            wait_for(program, lambda: answers(port))
            process.port = port
            yield process
