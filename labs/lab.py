"""The commands on a lab, as the machine sees them: up, down, status, exec, ssh, reboot."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from podnet.labs import access, image, kind, limits, modules
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab
from podnet.labs.process import become
from podnet.labs.wait import STEP

BURIED_WITHIN = 5.0


def up(home: Home, asked: dict[str, int | str | None]) -> None:
    """Make the lab, complete it, or change its number of hosts; return when every host answers."""
    start = time.monotonic()
    hosts = kind.of(shape(home, asked)[0])
    for tool in hosts.TOOLS:
        if not shutil.which(tool):
            raise LabError(f"{tool} is not installed: ./setup installs what labs need")
    hosts.check(home, shape(home, asked)[0])  # refuse before anything is made
    with home.locked() as lock:
        lab, ports = shape(home, asked)
        home.save(lab, ports)
        try:
            access.make_control(home, owner()[0])
            hosts.bring_up(home, lock)
        finally:
            give_away(home)
    print(f"lab {home.name} is up: {described(lab)} ({time.monotonic() - start:.1f} s)")
    print(f"  podnet lab ssh{home.option} {lab.nodes[0].name}")


def shape(home: Home, asked: dict[str, int | str | None]) -> tuple[Lab, dict[str, int]]:
    """Return the lab that is asked for, and the ports that its hosts have already."""
    given: dict[str, Any] = {option: value for option, value in asked.items() if value is not None}
    if not home.saved():
        return Lab(home.name, **given), {}
    have, ports = home.load()
    want = replace(have, **given)
    if have.kind != want.kind:
        raise LabError(
            f"lab {home.name} is of {have.kind}, which cannot become {want.kind} while it is there: "
            f"`podnet lab down{home.option}` first"
        )
    for option in ("segments", "mtu"):
        now, then = have.numbers[option], want.numbers[option]
        if now != then:
            raise LabError(
                f"lab {home.name} has --{option} {now}, which cannot become {then} while it is there: "
                f"`podnet lab down{home.option}` first"
            )
    return want, ports


def described(lab: Lab) -> str:
    """Say a lab's shape."""
    segments = "1 segment" if lab.segments == 1 else f"{lab.segments} segments"
    return f"{limits.counted(lab.hosts)}, {segments}, mtu {lab.mtu}, {lab.kind}"


def owner() -> tuple[int, int]:
    """Return who shall have the lab's files: the user who called sudo, for ssh refuses others' keys."""
    return int(os.environ.get("SUDO_UID", os.getuid())), int(os.environ.get("SUDO_GID", os.getgid()))


def give_away(home: Home) -> None:
    """Make the lab's files the user's."""
    for path in (home.path.parent, home.path, *home.path.rglob("*")):
        os.chown(path, *owner())


def down(home: Home) -> None:
    """End the lab, whatever is left of it, and remove every trace."""
    if not home.path.exists() and not home.cgroup.exists():
        print(f"there is no lab {home.name}")
        return
    with home.locked():
        home.cgroup.remove()
        bury(home.tag)
        for directory in (access.control(home), home.path):
            if directory.exists():
                shutil.rmtree(directory)
    modules.unload(home.path.parent)
    with suppress(OSError):  # other labs are in it, or another `down` was quicker
        home.path.parent.rmdir()
    image.tidy()
    print(f"lab {home.name} is down")


def bury(tag: str) -> None:
    """Wait for the machine's process 1 to reap what died, which some do once a second; if it never does, go on."""
    deadline = time.monotonic() + BURIED_WITHIN
    while time.monotonic() < deadline and any(tag in text for text in memberships()):
        time.sleep(STEP)


def memberships() -> Iterator[str]:
    """Yield the cgroups of every process of the machine, also of a dead one that is not reaped yet."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            yield path.read_text()
        except (FileNotFoundError, ProcessLookupError):  # it is gone meanwhile
            continue


def status(home: Home) -> bool:
    """Print how each host fares; return whether all are up."""
    lab, ports = home.load()
    states = kind.of(lab).states(home, lab, ports)
    print(f"lab {lab.name}: {described(lab)}")
    print(f"{'NAME':8} {'ADDRESS':18} {'PORT':>5} STATE")
    for machine in lab.machines:
        print(f"{machine.name:8} {machine.address!s:18} {ports.get(machine.name, '-'):>5} {states[machine.name]}")
    return set(states.values()) == {"up"}


def execute(home: Home, name: str, command: list[str]) -> NoReturn:
    """Become a command in a host."""
    become(inside(home, name, command))


def inside(home: Home, name: str, command: list[str]) -> list[str]:
    """Return what runs a command in a host; LabError if there is no such host, or if it does not run."""
    return kind.of(home.load()[0]).inside(home, known(home, name), command)


def reboot(home: Home, names: list[str], *, hard: bool) -> None:
    """Have hosts start anew, all at once, with the files they have; return when they have."""
    start = time.monotonic()
    with home.locked() as lock:
        for name in names:
            known(home, name)
        try:
            kind.of(home.load()[0]).reboot(home, names, lock, hard=hard)
        finally:
            give_away(home)
    have = "have" if len(names) > 1 else "has"
    print(f"{', '.join(names)} {have} started anew ({time.monotonic() - start:.1f} s)")


def ssh(home: Home, name: str, command: list[str]) -> NoReturn:
    """Become an ssh to a host."""
    become(["ssh", "-F", str(home.ssh_config), known(home, name), *command])


def known(home: Home, name: str) -> str:
    """Return the name of a host; refuse one that the lab has not."""
    names = [machine.name for machine in home.load()[0].machines]
    if name not in names:
        raise LabError(f"lab {home.name} has no host {name}, it has {', '.join(names)}")
    return name
