"""A Debian that is booted by systemd-nspawn, in the network of this process. What is written to it is gone when it ends."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Seconds for what a quiet machine does in one or two.
PATIENCE = 30.0
# Tells systemd to power off (systemd(1), "Signals").
POWER_OFF = signal.SIGRTMIN + 4


T = TypeVar("T")


class Unmet(Exception):
    """Something that should hold does not."""


def until(condition: Callable[[], T], what: str, limit: float = PATIENCE) -> T:
    """Waits until the condition returns something, and returns that."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise Unmet(f"{what}: not within {limit:.0f} s")
        time.sleep(0.05)
    return found


class Machine:
    def __init__(self, base: Path, share: Path) -> None:
        """`base` is the root file system, which is not changed; `share` is seen inside as /srv/share."""
        command = ["systemd-nspawn", "--quiet", "--boot", f"--directory={base}", "--volatile=overlay"]
        # There may be no machined outside to register with, and no systemd to give it a unit.
        command += ["--register=no", "--keep-unit", "--link-journal=no"]
        command += ["--resolv-conf=off", "--timezone=off", "--console=pipe", f"--bind={share}:/srv/share"]
        self._console = (share / "console").open("wb")
        # The control groups of today's Debian, whatever this machine has.
        environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        self._nspawn = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._console, stderr=subprocess.STDOUT, env=environment
        )
        self._leader = 0

    def wait_for_boot(self) -> str:
        """How the system is, once it is up: `running` if everything has started."""
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")

        def state() -> str | None:
            if self._nspawn.poll() is not None:
                raise Unmet(f"systemd-nspawn has ended with {self._nspawn.returncode}")
            pids = children.read_text().split()
            if not pids:
                return None
            self._leader = int(pids[0])
            said = self.run("systemctl is-system-running", check=False).strip()
            return said if said in ("running", "degraded") else None

        return until(state, "the machine is up")

    def run(self, command: str, check: bool = True, limit: float = PATIENCE) -> str:
        """What a shell inside prints for this command."""
        inside = ["nsenter", f"--target={self._leader}", "--all", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        inside += ["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "sh", "-c", command]
        try:
            done = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            raise Unmet(f"`{command}`: not done within {limit:.0f} s") from None
        if check and done.returncode != 0:
            raise Unmet(f"`{command}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def fails(self, command: str) -> bool:
        """Whether this command ends with an error."""
        try:
            self.run(command)
        except Unmet:
            return True
        return False

    def path(self, inside: str) -> Path:
        """Where a file of the machine is for programs outside."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        self.run(f"mkdir -p {Path(inside).parent}")
        self.path(inside).write_text(text)

    def close(self) -> None:
        if self._leader and self._nspawn.poll() is None:
            self.run(f"kill -{POWER_OFF} 1", check=False)
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._console.close()


class Service:
    """sidestream.service on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def show(self, name: str) -> str:
        return self.machine.run(f"systemctl show -P {name} sidestream").strip()

    @property
    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    def processes(self) -> list[int]:
        named = "cat /proc/[0-9]*/stat 2>/dev/null | sed -n 's/^\\([0-9]*\\) (sidestream).*/\\1/p'"
        return [int(pid) for pid in self.machine.run(named).split()]

    def journal(self, cursor: str = "") -> str:
        after = f"--after-cursor='{cursor}'" if cursor else ""
        return self.machine.run(f"journalctl --no-pager -q -o cat -u sidestream.service {after}")

    def cursor(self) -> str:
        """The end of the journal as it is now."""
        shown = self.machine.run("journalctl --sync; journalctl --no-pager -q -n 1 --show-cursor")
        return shown.rpartition("-- cursor: ")[2].strip()

    def logs(self, cursor: str, words: str) -> None:
        """Waits until the journal has these words, after this place."""
        until(lambda: words in self.journal(cursor), f"the journal has {words!r}")

    def drop_in(self, text: str) -> None:
        self.machine.write("/etc/systemd/system/sidestream.service.d/test.conf", f"[Service]\n{text}\n")
        self.machine.run("systemctl daemon-reload")
