"""A lab of containers: `up` and its like, where hosts share this machine's kernel and a keeper keeps them."""

import os
import subprocess
import sys

from podnet.labs import host, image, limits, modules, recipe
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab
from podnet.labs.process import PYTHON
from podnet.labs.wait import until

TOOLS = ("mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "setpriv", "mount", "ssh", "ssh-keygen")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOPS_WITHIN = 30.0


def check(home: Home, lab: Lab) -> None:
    """Refuse what this machine has no room for."""
    limits.check(home, lab)


def bring_up(home: Home, lock: int) -> None:
    """Bring the lab to the shape that its directory says."""
    modules.load(home.path.parent)
    if not home.keeper:
        start_keeper(home)
    work(home, lock)


def start_keeper(home: Home) -> None:
    """Start the lab's keeper, which from then on is nobody's child."""
    home.cgroup.remove()  # what a keeper that was killed has left
    isolated = [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
    ]
    with image.held(recipe.CONTAINER) as (path, holder), home.log.open("w") as log:
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


def states(home: Home, lab: Lab, ports: dict[str, int]) -> dict[str, str]:
    """Say how each host fares."""
    return {machine.name: host.state(home.cgroup / machine.name, ports.get(machine.name)) for machine in lab.machines}


def inside(home: Home, name: str, command: list[str]) -> list[str]:
    """Return what runs a command in a host, without its sshd."""
    init = (home.cgroup / name).init()
    if not init:
        raise LabError(f"{name} is not running: `podnet lab up{home.option}` starts it")
    environment = [f"PATH={PATH}", "HOME=/root", "USER=root", f"TERM={os.environ.get('TERM', 'dumb')}"]
    enter = ["nsenter", "--target", str(init), "--all", "env", "--ignore-environment", "--chdir=/root"]
    return [*enter, *environment, *command]


def reboot(home: Home, names: list[str], lock: int, *, hard: bool) -> None:
    """End hosts, at once if `hard`, and start them again."""
    groups = [home.cgroup / name for name in names]
    if not hard:
        for name in names:
            subprocess.run(inside(home, name, ["systemctl", "poweroff"]), check=True)
        stuck = f"{', '.join(names)} did not all go down: `reboot --hard` cuts their power"
        until(lambda: not any(group.init() for group in groups), STOPS_WITHIN, stuck)
    for group in groups:
        group.remove()
    bring_up(home, lock)
