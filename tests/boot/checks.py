"""What must hold of the package in a booted Debian, in the order in which it is tried."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import configurations
from machine import Machine, Service, Unmet, until
from peers import Load, LongStream, get

# Where changes are no traces of the package: what every package changes, and what the machine does by itself.
NOT_OURS = r"^/(proc|sys|dev|run|tmp|srv|var/log/(journal|apt)|var/lib/(dpkg|apt|systemd)|var/cache|var/tmp)(/|$)|^/etc/.*-$"


@dataclass
class World:
    """What the checks work with."""

    machine: Machine
    service: Service
    share: Path
    # The package, and one of the same program with a higher version.
    package: str
    next_package: str
    files_before: set[str]

    def files(self) -> set[str]:
        return set(self.machine.run(f"find / -xdev | grep -vE '{NOT_OURS}'").split("\n"))

    def restart_with(self, configuration: str) -> None:
        self.machine.write("/etc/sidestream/sidestream.yaml", configuration)
        self.machine.run("systemctl restart sidestream")

    def relays_every_way(self) -> None:
        wrong = configurations.wrong_combinations(self.share, self.machine.path("/run/sidestream/http.sock"))
        expect(not wrong, "; ".join(wrong))


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise Unmet(otherwise)


def installs(world: World) -> str:
    world.files_before = world.files()
    begin = time.monotonic()
    world.machine.run(f"apt-get install -y -q --no-install-recommends {world.package}")
    took = time.monotonic() - begin
    expect(world.service.is_active, "the service is not active after the installation")
    enabled = world.machine.run("systemctl is-enabled sidestream.service").strip()
    expect(enabled == "enabled", f"the service is {enabled}")
    return f"{took:.1f} s"


def says_how_it_is(world: World) -> str:
    status = until(lambda: world.service.show("StatusText"), "the status line")
    expect(status == "0 requests on 0 connections", f"the status line is {status!r}")
    journal = world.service.journal()
    for words in ("listening address=127.0.0.1:8080", "metrics at http://127.0.0.1:9090/metrics"):
        expect(words in journal, f"the journal has no {words!r}: {journal}")
    expect("\x1b" not in journal, "the journal has escape sequences")
    expect("<6>" not in journal, f"the journal does not read priorities: {journal}")
    expect(get(8080, "/") == "whole", "no stream through the configuration of the package")
    return status


def is_confined(world: World) -> str:
    pid = world.service.main_pid
    lines = world.machine.run(f"cat /proc/{pid}/status").splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    expected = {"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0" * 16, "CapBnd": "0" * 16}
    for name, value in expected.items():
        expect(fields.get(name) == value, f"{name} is {fields.get(name)} and not {value}")
    expect(fields["Uid"].split()[0] != "0", "it runs as root")
    mounts = [line.split() for line in world.machine.run(f"cat /proc/{pid}/mountinfo").splitlines()]
    root = next(mount for mount in mounts if mount[4] == "/")
    expect("ro" in root[5].split(","), "its root is not read-only")
    exposure = world.machine.run("systemd-analyze security --no-pager sidestream | sed -n 's/.*exposure level[^:]*: //p'", check=False)
    return f"exposure {exposure.split()[0]}"


def reloads(world: World) -> str:
    """`systemctl reload` takes a new file; one with mistakes changes nothing, and the command says so."""
    cursor = world.service.cursor()
    world.restart_with(configurations.everything())
    pid = world.service.main_pid
    expect(get(8080, "/added/") != "whole", "the route is there before the reload")
    world.machine.write("/etc/sidestream/sidestream.yaml", configurations.everything(added="/added/"))
    world.machine.run("systemctl reload sidestream")
    until(lambda: get(8080, "/added/") == "whole", "the new route serves")
    world.machine.write("/etc/sidestream/sidestream.yaml", configurations.everything().replace("upstreams:", "upstreems:"))
    expect(world.machine.fails("systemctl reload sidestream"), "a reload of a file with mistakes succeeds")
    world.service.logs(cursor, "upstreems")
    expect(world.service.is_active, "the service is not active after a failed reload")
    expect(get(8080, "/added/") == "whole", "a failed reload has changed something")
    world.machine.write("/etc/sidestream/sidestream.yaml", configurations.everything())
    world.machine.run("systemctl reload sidestream")
    until(lambda: get(8080, "/added/") != "whole", "the route is gone")
    expect(world.service.main_pid == pid, "a reload has restarted the service")
    return "a new route; a mistake, refused; back"


def relays(world: World) -> str:
    world.relays_every_way()
    return configurations.COMBINATIONS


def rotates_its_log(world: World) -> str:
    world.machine.run("logrotate --state /tmp/rotated --force /etc/logrotate.d/sidestream")
    get(8080, "/plain/")
    log = "/var/log/sidestream/access.log"
    until(lambda: world.machine.run(f"cat {log}", check=False), "a line in the new access log")
    last = json.loads(world.machine.run(f"tail -n 1 {log}"))
    expect(last.get("http.response.status_code") == 200, f"the line is {last}")
    return world.machine.run("stat -c '%U %a' " + log).strip()


def is_restarted_by_the_watchdog(world: World) -> str:
    world.service.drop_in("WatchdogSec=2")
    world.machine.run("systemctl restart sidestream")
    cursor, pid = world.service.cursor(), world.service.main_pid
    time.sleep(4)
    expect(world.service.main_pid == pid, "the watchdog is not fed")
    begin = time.monotonic()
    world.machine.run(f"kill -STOP {pid}")
    until(lambda: world.service.main_pid not in (0, pid) and world.service.is_active, "another process serves")
    took = time.monotonic() - begin
    world.service.logs(cursor, "Watchdog timeout")
    until(lambda: get(8080, "/plain/") == "whole", "a stream through the new process")
    expect(world.service.show("NRestarts") == "1", "NRestarts is not 1")
    world.service.drop_in("")
    world.machine.run("systemctl restart sidestream")
    return f"WatchdogSec=2: serving again {took:.1f} s after SIGSTOP"


def is_denied_nothing(world: World) -> str:
    """With a filter that kills instead of saying EPERM, so that nothing that is denied goes unseen."""
    cursor = world.service.cursor()
    world.service.drop_in("SystemCallErrorNumber=")
    world.machine.run("systemctl restart sidestream")
    pid = world.service.main_pid
    world.relays_every_way()
    world.machine.run("systemctl reload sidestream")
    expect(world.service.main_pid == pid, "it was restarted")
    successor = upgrade_by_signal(world)
    world.relays_every_way()
    world.machine.run("systemctl stop sidestream")
    journal = world.service.journal(cursor)
    for words in ("SYS", "core-dump", "Failed", "reception only permitted", "not our child"):
        expect(words not in journal, f"the journal has {words!r}: {journal}")
    world.service.drop_in("")
    world.machine.run("systemctl start sidestream")
    return f"all of it again, {pid} reloaded and upgraded to {successor}"


def upgrade_by_signal(world: World) -> int:
    before = world.service.main_pid
    world.machine.run("systemctl kill --kill-who=main --signal=USR2 sidestream")
    until(lambda: world.service.main_pid not in (0, before), "a successor is the main process")
    until(lambda: before not in world.service.processes(), "the predecessor has ended")
    return world.service.main_pid


def upgrades_under_load(world: World) -> str:
    before = world.service.main_pid
    long = LongStream("/plain/?events=160&every=50")
    with Load("/plain/") as load:
        until(lambda: load.outcomes["whole"] > 100, "the load runs")
        begin = time.monotonic()
        world.machine.run(f"dpkg -i {world.next_package}")
        until(lambda: world.service.main_pid not in (0, before), "the new program is the main process")
        took, asked = time.monotonic() - begin, load.outcomes.total()
        until(lambda: load.outcomes.total() > asked + 200, "the load goes on")
        expect(before in world.service.processes(), "the old program has not waited for its stream")
    expect(set(load.outcomes) == {"whole"}, f"requests ended as {dict(load.outcomes)}")
    long.join(30)
    expect(long.outcome == "whole", f"the stream across the upgrade: {long.outcome}")
    until(lambda: before not in world.service.processes(), "the old program has ended")
    expect(world.service.is_active, "the service is not active")
    expect(world.service.show("NRestarts") == "0", "systemd has restarted it")
    second = upgrade_by_signal(world)
    expect(get(8080, "/plain/") == "whole", "no stream after another upgrade")
    return f"{load.outcomes.total()} requests, all whole; {took:.1f} s; again to {second}"


def outlives_a_successor(world: World) -> str:
    """That dies while its predecessor still has a stream."""
    world.machine.run("systemctl restart sidestream")
    before = world.service.main_pid
    stream = LongStream("/plain/?events=600&every=50")
    until(lambda: world.service.show("StatusText").startswith("1 request"), "the stream runs")
    world.machine.run("systemctl kill --kill-who=main --signal=USR2 sidestream")
    until(lambda: world.service.main_pid not in (0, before), "a successor is the main process")
    until(lambda: get(8080, "/plain/") == "whole", "the successor serves")
    expect(before in world.service.processes(), "the old program has not waited for its stream")
    successor, begin = world.service.main_pid, time.monotonic()
    world.machine.run(f"kill -KILL {successor}")
    until(lambda: world.service.main_pid not in (0, before, successor) and world.service.is_active, "another process serves")
    took = time.monotonic() - begin
    # RestartSec is one second. The watchdog would take 30, and the end of the stream too.
    expect(took < 10, f"systemd has noticed only after {took:.1f} s")
    expect(get(8080, "/plain/") == "whole", "no stream through the new process")
    stream.join(30)
    result = world.service.show("NRestarts")
    expect(result == "1", f"NRestarts is {result}")
    return f"serving again {took:.1f} s after its SIGKILL (the stream of the predecessor: {stream.outcome})"


def is_restarted_unless_its_configuration_is_wrong(world: World) -> str:
    cursor = world.service.cursor()
    world.machine.write("/etc/sidestream/sidestream.yaml", configurations.everything().replace("upstreams:", "upstreems:"))
    expect(world.machine.fails("systemctl restart sidestream"), "it starts with mistakes in its configuration")
    time.sleep(3)
    expect(world.service.journal(cursor).count("upstreems") == 1, "it was started again")
    expect(world.service.show("ActiveState") == "failed", "the service is not failed")
    world.restart_with(configurations.everything())
    world.machine.run(f"kill -TERM {world.service.main_pid}")
    until(lambda: world.service.show("NRestarts") == "1" and get(8080, "/plain/") == "whole", "it serves again")
    return "failed, and not started again; after a SIGTERM that is not systemd's, it was"


def is_activated_by_its_socket(world: World) -> str:
    world.machine.run("systemctl stop sidestream.service")
    expect(get(8080, "/plain/") == "ConnectionRefusedError", "somebody listens while the service is stopped")
    world.machine.run("systemctl enable --now sidestream.socket")
    world.machine.run("systemctl reset-failed")
    expect(not world.service.is_active, "the service runs before anybody has connected")
    expect(get(8080, "/plain/") == "whole", "the first client is not served")
    with Load("/plain/") as load:
        until(lambda: load.outcomes["whole"] > 100, "the load runs")
        world.machine.run("systemctl restart sidestream.service")
        asked = load.outcomes.total()
        until(lambda: load.outcomes.total() > asked + 100, "the load goes on")
        world.machine.run(f"dpkg -i --force-downgrade {world.package}")
        asked = load.outcomes.total()
        until(lambda: load.outcomes.total() > asked + 100, "the load goes on")
    expect(set(load.outcomes) == {"whole"}, f"requests ended as {dict(load.outcomes)}")
    world.machine.run("systemctl disable --now sidestream.socket && systemctl restart sidestream.service")
    return f"a restart and an upgrade, {load.outcomes.total()} requests, all whole"


def drains_and_stops(world: World) -> str:
    """As it was started, and as the successor of an upgrade."""
    took = [drain_and_stop(world)]
    world.machine.run("systemctl start sidestream")
    upgrade_by_signal(world)
    took.append(drain_and_stop(world))
    return "an open stream ran to its end, {:.1f} s; of a successor, {:.1f} s".format(*took)


def drain_and_stop(world: World) -> float:
    stream = LongStream("/plain/?events=80&every=50")
    until(lambda: world.service.show("StatusText").startswith("1 request"), "the status line counts the stream")
    begin = time.monotonic()
    world.machine.run("systemctl stop sidestream")
    took = time.monotonic() - begin
    stream.join(30)
    expect(stream.outcome == "whole", f"the open stream: {stream.outcome}")
    result = world.service.show("Result"), world.service.show("ExecMainStatus")
    expect(result == ("success", "0"), f"it ended as {result}")
    expect(not world.service.processes(), "processes are left")
    return took


def is_purged(world: World) -> str:
    world.service.drop_in("")
    world.machine.run("systemctl restart sidestream")
    world.machine.run("rm -r /etc/systemd/system/sidestream.service.d")
    world.machine.run("apt-get purge -y -q sidestream")
    expect(not world.service.processes(), "processes are left")
    left = world.files() - world.files_before
    expect(not left, f"these files are left: {sorted(left)}")
    for table in ("passwd", "group"):
        expect(world.machine.fails(f"getent {table} sidestream"), f"sidestream is still in {table}")
    units = world.machine.run("systemctl list-units --all --plain --no-legend 'sidestream*'").strip()
    expect(not units, f"systemd still knows {units}")
    helpers = world.machine.run("find /var/lib/systemd /run -name '*sidestream*'").strip()
    expect(not helpers, f"these files are left: {helpers}")
    return "no file, user, group, process or unit is left"


CHECKS: list[Callable[[World], str]] = [
    installs,
    says_how_it_is,
    is_confined,
    reloads,
    relays,
    rotates_its_log,
    is_restarted_by_the_watchdog,
    is_denied_nothing,
    upgrades_under_load,
    outlives_a_successor,
    is_restarted_unless_its_configuration_is_wrong,
    is_activated_by_its_socket,
    drains_and_stops,
    is_purged,
]
