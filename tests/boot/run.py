"""The package in a booted Debian: run.py --root FOLDER --package FILE --next-package FILE --binary SIDESTREAM

Run it in a network namespace of its own, because it takes the ports 53, 8000 to 8002, 8080, 8443 and 9090.
Prints a line for each check, and ends with 1 if one failed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import checks
import peers
from machine import Machine, Service, Unmet


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--root", required=True, type=Path, help="the root file system of a Debian with systemd")
    parser.add_argument("--package", required=True, type=Path, help="the package")
    parser.add_argument("--next-package", required=True, type=Path, help="the same with a higher version")
    parser.add_argument("--binary", required=True, help="a sidestream for the other side of TLS and HTTP/2")
    return parser.parse_args()


def prepare(machine: Machine) -> None:
    """What an operator has on the machine beside the package."""
    machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")


def give_certificate(machine: Machine) -> None:
    """To the user, which the package has made."""
    machine.run("install -m 644 /srv/share/cert.pem /etc/sidestream/cert.pem")
    machine.run("install -m 640 -g sidestream /srv/share/key.pem /etc/sidestream/key.pem")


def run(world: checks.World) -> int:
    failed = 0
    for check in checks.CHECKS:
        name, begin = check.__name__.replace("_", " "), time.monotonic()
        cursor = world.service.cursor()
        # systemd starts no service more than five times in ten seconds, and the checks do.
        world.machine.run("systemctl reset-failed")
        try:
            print(f"ok {name}: {check(world)} [{time.monotonic() - begin:.1f} s]", flush=True)
        except Unmet as unmet:
            failed += 1
            print(f"FAILED {name}: {unmet}", flush=True)
            print("  the journal meanwhile:", *world.service.journal(cursor).splitlines()[-15:], sep="\n    ")
        if check is checks.installs:
            give_certificate(world.machine)
    return failed


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="sidestream-boot-") as folder:
        share = Path(folder)
        share.chmod(0o755)
        for package in (options.package, options.next_package):
            shutil.copy(package, share)
        peers.make_certificate(share)
        peers.start_backend(8000)
        peers.start_dns()
        relay = peers.Relay(options.binary, share)
        begin = time.monotonic()
        machine = Machine(options.root, share)
        try:
            state = machine.wait_for_boot()
            if state != "running":
                print(f"FAILED boots: {state}: {machine.run('systemctl --failed --no-legend --plain')}")
                return 1
            version = machine.run("systemctl --version").split("\n")[0]
            print(f"ok boots: {version} [{time.monotonic() - begin:.1f} s]", flush=True)
            prepare(machine)
            names = (f"/srv/share/{package.name}" for package in (options.package, options.next_package))
            failed = run(checks.World(machine, Service(machine), share, *names, files_before=set()))
        finally:
            machine.close()
            relay.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
