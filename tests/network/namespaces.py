"""Network namespaces of this process alone: the kernel ends them with it, however it ends."""

import ctypes
import os
import shutil
import socket
import subprocess
from types import TracebackType
from typing import Self

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
TOOLS = ("ip", "setpriv", "unshare", "mount")


def _call(name: str, *arguments: int) -> None:
    if getattr(LIBC, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network of its own. Sockets made and programs started inside of `with namespace:` belong to it for good.

    It has no name, so nothing of it stays behind; nothing may be awaited inside of the block.
    """

    def __init__(self) -> None:
        self._outside = _current()
        _call("unshare", CLONE_NEWNET)
        self._inside = _current()
        _call("setns", self._outside, CLONE_NEWNET)
        self.ip("link set lo up")

    def __enter__(self) -> Self:
        _call("setns", self._inside, CLONE_NEWNET)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        _call("setns", self._outside, CLONE_NEWNET)

    @property
    def path(self) -> str:
        """What `ip link set ... netns` takes in place of a name."""
        return f"/proc/{os.getpid()}/fd/{self._inside}"

    def ip(self, *commands: str) -> None:
        text = "\n".join(commands)
        with self:
            subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True, capture_output=True)

    def listener(self, address: str, port: int) -> socket.socket:
        listener = self._socket(address, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
        return listener

    def stream_socket(self, address: str = "0.0.0.0") -> socket.socket:
        return self._socket(address, socket.SOCK_STREAM)

    def datagram_socket(self, address: str, port: int) -> socket.socket:
        made = self._socket(address, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    def _socket(self, address: str, kind: socket.SocketKind) -> socket.socket:
        with self:
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        made.setblocking(False)
        return made

    def close(self) -> None:
        os.close(self._inside)
        os.close(self._outside)


def why_not() -> str | None:
    """Why there can be no namespaces here; `None` if there can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    try:
        first, second = Namespace(), Namespace()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces may be made here ({error})"
    try:
        first.ip(f"link add v0 type veth peer name v0 netns {second.path}")
        with first:
            # Programs are started in a mount namespace, with some files of /etc replaced.
            subprocess.run(["unshare", "--mount", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no veth pairs or mount namespaces may be made here ({error})"
    finally:
        first.close()
        second.close()
    return None
