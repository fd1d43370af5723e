"""The commands on a lab, as the machine sees them: up, down, status, exec, ssh."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from podnet.labs import access, host, image, limits, modules
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab
from podnet.labs.wait import STEP

TOOLS = ("mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "setpriv", "mount", "ssh", "ssh-keygen")
BURIED_WITHIN = 5.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON = (sys.executable, "-P", "-m")  # -P: what lies where the user stands is not run as root


def up(home: Home, hosts: int | None, segments: int | None, mtu: int | None) -> None:
    """Make the lab, complete it, or change its number of hosts; return when every host answers."""
    for tool in TOOLS:
        if not shutil.which(tool):
            raise LabError(f"{tool} is not installed: ./setup installs what labs need")
    start = time.monotonic()
    asked = {"hosts": hosts, "segments": segments, "mtu": mtu}
    limits.check(home, shape(home, asked)[0])  # refuse before anything is made
    with home.locked() as lock:
        lab, ports = shape(home, asked)
        home.save(lab, ports)
        modules.load(home.path.parent)
        try:
            access.make_control(home, owner()[0])
            if not home.keeper:
                start_keeper(home)
            work(home, lock)
        finally:
            give_away(home)
    print(f"lab {home.name} is up: {described(lab)} ({time.monotonic() - start:.1f} s)")
    print(f"  podnet lab ssh{home.option} {lab.nodes[0].name}")


def shape(home: Home, asked: dict[str, int | None]) -> tuple[Lab, dict[str, int]]:
    """Return the lab that is asked for, and the ports that its hosts have already."""
    given = {option: value for option, value in asked.items() if value is not None}
    if not home.saved():
        return Lab(home.name, **given), {}
    have, ports = home.load()
    want = Lab(home.name, **{**have.numbers, **given})
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
    return f"{limits.counted(lab.hosts)}, {segments}, mtu {lab.mtu}"


def start_keeper(home: Home) -> None:
    """Start the lab's keeper, which from then on is nobody's child."""
    home.cgroup.remove()  # what a keeper that was killed has left
    isolated = [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
    ]
    with image.held() as (path, holder), home.log.open("w") as log:
        keeper = subprocess.Popen(
            (home.cgroup / "keeper").entering([*isolated, *PYTHON, "podnet.labs.keeper", str(path)]),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            pass_fds=[holder],
        )
        said = keeper.stdout.readline() if keeper.stdout else b""
        if said != b"ready\n":
            raise LabError(f"the lab's keeper did not start: {home.log.read_text().strip()}")


def work(home: Home, lock: int) -> None:
    """Let the worker do the rest inside of the lab; it holds the lock too, should we be killed."""
    inside = ["nsenter", "--target", str(home.keeper), "--mount", "--pid"]
    done = subprocess.run([*inside, *PYTHON, "podnet.labs.worker", str(home.path)], check=False, pass_fds=[lock])
    if done.returncode:
        sys.exit(done.returncode)


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
    if not any(home.path.parent.iterdir()):
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
    states = {machine: host.state(home.cgroup / machine.name, ports.get(machine.name)) for machine in lab.machines}
    print(f"lab {lab.name}: {described(lab)}")
    print(f"{'NAME':8} {'ADDRESS':18} {'PORT':>5} STATE")
    for machine, state in states.items():
        print(f"{machine.name:8} {machine.address!s:18} {ports.get(machine.name, '-'):>5} {state}")
    return set(states.values()) == {"up"}


def execute(home: Home, name: str, command: list[str]) -> NoReturn:
    """Become a command in a host, without its sshd."""
    init = (home.cgroup / known(home, name)).init()
    if not init:
        raise LabError(f"{name} is not running: `podnet lab up{home.option}` starts it")
    environment = [f"PATH={PATH}", "HOME=/root", "USER=root", f"TERM={os.environ.get('TERM', 'dumb')}"]
    become(
        [
            "nsenter",
            "--target",
            str(init),
            "--all",
            "env",
            "--ignore-environment",
            "--chdir=/root",
            *environment,
            *command,
        ]
    )


def ssh(home: Home, name: str, command: list[str]) -> NoReturn:
    """Become an ssh to a host."""
    become(["ssh", "-F", str(home.ssh_config), known(home, name), *command])


def known(home: Home, name: str) -> str:
    """Return the name of a host; refuse one that the lab has not."""
    names = [machine.name for machine in home.load()[0].machines]
    if name not in names:
        raise LabError(f"lab {home.name} has no host {name}, it has {', '.join(names)}")
    return name


def become(command: list[str]) -> NoReturn:
    """Replace this process."""
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
