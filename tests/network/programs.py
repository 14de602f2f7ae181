"""Programs in a network namespace, with files of /etc of their own."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from namespaces import Namespace

# Gives each file of /etc that is named here its place, and becomes the program.
IN_PLACE = 'while [ "$1" != -- ]; do mount --bind "$1" "/etc/${1##*/}" || exit 1; shift; done; shift; exec "$@"'


class Program:
    """A program that ends with this process, whatever happens to it. Its output is kept.

    It runs in a folder of its own, with these files in it; FOLDER in its arguments and in the files is the folder's name.
    """

    def __init__(
        self, namespace: Namespace, command: list[str], files: dict[str, str], etc: dict[str, str] | None = None
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sidestream-network-")
        self.folder = Path(self._temporary.name)
        (self.folder / "etc").mkdir()
        for name, text in files.items():
            (self.folder / name).write_text(text.replace("FOLDER", str(self.folder)))
        in_place = []
        for name, text in (etc or {}).items():
            file = self.folder / "etc" / name
            file.write_text(text)
            in_place.append(str(file))
        arguments = [argument.replace("FOLDER", str(self.folder)) for argument in command]
        # Nothing here forks, so this process is the program's parent, and a signal reaches the program itself.
        become = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", IN_PLACE, "sh", *in_place, "--"]
        self._log = self.folder / "output"
        with self._log.open("w") as log, namespace:
            self._process = subprocess.Popen(
                [*become, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "NO_COLOR": "1"},
            )

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def seconds_to_end(self, limit: float) -> float | None:
        """How long it takes to end from now on; `None`: longer than this."""
        begin = time.monotonic()
        while self.is_running():
            if time.monotonic() - begin > limit:
                return None
            await asyncio.sleep(0.002)
        return time.monotonic() - begin

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._temporary.cleanup()
