"""The container image in podman: image.py --root FOLDER --containerfile FILE

FOLDER is what scripts/root-file-system has made; of the Containerfile the last stage is built, of that folder. Run it in a network
namespace of its own. Prints a line for each check, and ends with 1 if one failed.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import peers
from checks import expect
from machine import Unmet, until

IMAGE, CONTAINER = "localhost/sidestream:test", "sidestream-test"
CONFIGURATION = """\
listeners: [{address: "127.0.0.1:8080"}]
admin: {address: "127.0.0.1:9090"}
upstreams:
  by-dns: {servers: ["http://backend.example:8000"]}
  by-hosts: {servers: ["http://hosts.example:8000"]}
routes:
  - {match: {path: /plain/}, upstream: by-dns}
  - {match: {path: /hosts/}, upstream: by-hosts}
"""
ADDED = "  - {match: {path: /added/}, upstream: by-dns}\n"


class Podman:
    """With storage of its own, which is gone when the folder is."""

    def __init__(self, folder: Path, root: Path, containerfile: Path) -> None:
        self.folder, self.root, self.containerfile = folder, root, containerfile
        # podman raises limits to its own defaults, which fails where they are lower and stay so.
        (folder / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n')
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONTAINERS_CONF": str(folder / "containers.conf")}
        self._command = ["podman", f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp"]
        self._command += ["--storage-driver=vfs", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]

    def __call__(self, *arguments: str, limit: float = 120) -> bytes:
        done = subprocess.run([*self._command, *arguments], env=self._environment, capture_output=True, timeout=limit)
        if done.returncode != 0:
            raise Unmet(f"podman {arguments[0]} ended with {done.returncode}: {done.stderr.decode().strip()}")
        return done.stdout

    def inspect(self, what: str, form: str) -> str:
        return self("inspect", f"--format={form}", what).decode().strip()

    def start(self) -> None:
        confined = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host"]
        names = ["--dns=127.0.0.1", "--add-host=hosts.example:127.0.0.1"]
        mounted = f"--volume={self.folder}/sidestream.yaml:/etc/sidestream/sidestream.yaml:ro"
        # Nothing runs the check periodically: that needs systemd.
        confined += ["--health-interval=disable"]
        self("run", "--detach", "--replace", f"--name={CONTAINER}", *confined, *names, mounted, IMAGE)
        until(lambda: health("/readyz") == 200, "/readyz is 200")

    @property
    def pid(self) -> int:
        return int(self.inspect(CONTAINER, "{{.State.Pid}}"))

    def close(self) -> None:
        subprocess.run([*self._command, "rm", "--all", "--force", "--time=0"], env=self._environment, capture_output=True)

    def ended_with(self) -> str:
        return self.inspect(CONTAINER, "{{.State.Status}} {{.State.ExitCode}}")


def health(path: str) -> int:
    """The status of the admin address for this path, 0 if there is none."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", f"http://127.0.0.1:9090{path}"]
    return int(subprocess.run(command, capture_output=True, text=True).stdout or 0)


def builds(podman: Podman) -> str:
    _, _, last_stage = podman.containerfile.read_text().partition("FROM scratch\n")
    file = podman.folder / "Containerfile"
    file.write_text("FROM scratch\n" + last_stage.replace("--from=build /out /", ". /"))
    # The format of OCI has no health checks.
    podman("build", "--quiet", "--format=docker", f"--tag={IMAGE}", f"--file={file}", str(podman.root))
    size = int(podman.inspect(IMAGE, "{{.Size}}"))
    packed = len(gzip.compress(podman("save", IMAGE)))
    return f"{size / 1e6:.1f} MB, {packed / 1e6:.1f} MB packed"


def is_healthy(podman: Podman) -> str:
    begin = time.monotonic()
    podman.start()
    expect(health("/healthz") == 200, "/healthz is not 200")
    took = time.monotonic() - begin
    podman("healthcheck", "run", CONTAINER)
    podman("exec", CONTAINER, "/usr/bin/sidestream", "health", "--ready")
    return f"/healthz, /readyz and the health check of the image, {took:.1f} s after `podman run`"


def is_confined(podman: Podman) -> str:
    lines = Path(f"/proc/{podman.pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    expected = {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    for name, value in expected.items():
        expect(fields[name] == [value], f"{name} is {fields[name]} and not {value}")
    expect(set(fields["Uid"]) == {"65534"}, f"it runs as {fields['Uid']}")
    expect(fields["NSpid"][-1] == "1", "it is not process 1")
    mounts = [line.split() for line in Path(f"/proc/{podman.pid}/mountinfo").read_text().splitlines()]
    expect("ro" in next(mount for mount in mounts if mount[4] == "/")[5].split(","), "its root is not read-only")
    return "process 1, user 65534, no capabilities, a read-only root, seccomp"


def relays(_: Podman) -> str:
    for path in ("/plain/", "/hosts/"):
        outcome = peers.get(8080, path)
        expect(outcome == "whole", f"{path}: {outcome}")
    return "to a name of DNS, and to one of /etc/hosts"


def logs(podman: Podman) -> str:
    lines = podman("logs", CONTAINER).decode().splitlines()
    requests = [json.loads(line) for line in lines if line.startswith("{")]
    expect(len(requests) == 2, f"there are {len(requests)} lines of the access log")
    return "the access log is in `podman logs`"


def reloads(podman: Podman) -> str:
    with (podman.folder / "sidestream.yaml").open("a") as file:
        file.write(ADDED)
    podman("kill", "--signal=HUP", CONTAINER)
    until(lambda: peers.get(8080, "/added/") == "whole", "the new route serves")
    return "at SIGHUP"


def drains(podman: Podman) -> str:
    told = []
    for signal in ("TERM", "INT"):
        stream = peers.LongStream("/plain/?events=60&every=50")
        time.sleep(0.5)
        begin = time.monotonic()
        podman("kill", f"--signal={signal}", CONTAINER)
        until(lambda: health("/readyz") == 503, "/readyz is 503 meanwhile")
        until(lambda: podman.ended_with() == "exited 0", "it has ended with 0")
        took = time.monotonic() - begin
        stream.join(30)
        expect(stream.outcome == "whole", f"the open stream: {stream.outcome}")
        told.append(f"SIG{signal} {took:.1f} s")
        podman.start()
    begin = time.monotonic()
    podman("stop", "--time=20", CONTAINER)
    expect(podman.ended_with() == "exited 0", f"after `podman stop`: {podman.ended_with()}")
    return f"an open stream runs to its end: {', '.join(told)}; `podman stop` without one: {time.monotonic() - begin:.1f} s"


CHECKS: list[Callable[[Podman], str]] = [builds, is_healthy, is_confined, relays, logs, reloads, drains]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--root", required=True, type=Path)
    parser.add_argument("--containerfile", required=True, type=Path)
    options = parser.parse_args()
    peers.start_backend(8000)
    peers.start_dns()
    with tempfile.TemporaryDirectory(prefix="sidestream-image-") as folder:
        podman, failed = Podman(Path(folder), options.root, options.containerfile), 0
        podman.folder.chmod(0o755)
        (podman.folder / "sidestream.yaml").write_text(CONFIGURATION)
        try:
            for check in CHECKS:
                name, begin = check.__name__.replace("_", " "), time.monotonic()
                try:
                    print(f"ok {name}: {check(podman)} [{time.monotonic() - begin:.1f} s]", flush=True)
                except Unmet as unmet:
                    failed += 1
                    print(f"FAILED {name}: {unmet}", flush=True)
        finally:
            podman.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
