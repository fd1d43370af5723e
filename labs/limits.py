"""Limits of this machine's kernel that the hosts of all labs share, seen before they are hit: then nobody says why."""

import os
import sys
from pathlib import Path

from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab

PROC = Path("/proc")
INSTANCES = "fs.inotify.max_user_instances"  # of root's, for all hosts and this machine together
NEIGHBOURS = "net.ipv4.neigh.default.gc_thresh3"

# Measured: a host's systemd holds 3, its logind 1, both as root. With 1 to 3 of them it boots, and is lame.
TAKEN_BY_A_HOST = 4
LEFT_FREE = 8  # for what may come meanwhile: a login of root's on this machine takes as many as a host
NEAR = 0.75


def check(home: Home, lab: Lab) -> None:
    """Refuse hosts that there is no room for; warn of a lab that comes near to a limit that may never be met."""
    starting = sum(not (home.cgroup / machine.name).init() for machine in lab.machines)
    if starting:
        check_instances(starting)
    warn_of_neighbours(lab)


def check_instances(starting: int) -> None:
    """Refuse to start more hosts than inotify instances are left for."""
    used, most = instances(), setting(INSTANCES)
    wanted = used + LEFT_FREE + starting * TAKEN_BY_A_HOST
    if most is not None and wanted > most:
        room = max(0, most - used - LEFT_FREE) // TAKEN_BY_A_HOST
        raise LabError(
            f"{counted(starting)} would have to start, and this machine has room for {room}: each takes "
            f"{TAKEN_BY_A_HOST} of root's inotify instances, {INSTANCES} is {most}, and {used} are in use: "
            f"`sysctl -w {INSTANCES}={1 << (wanted - 1).bit_length()}` as root makes room"
        )


def instances() -> int:
    """Count root's inotify instances, on this machine and in whatever container runs on it."""
    return sum(held(process) for process in PROC.glob("[0-9]*"))


def held(process: Path) -> int:
    """Count the inotify instances of a process of root's."""
    try:
        if owner(process) != 0:
            return 0
        return sum(link.readlink() == Path("anon_inode:inotify") for link in (process / "fd").iterdir())
    except OSError:  # it is gone meanwhile, or closes what we look at: then it does not matter
        return 0


def owner(process: Path) -> int:
    """Return as whom a process acts."""
    return process.stat().st_uid


def warn_of_neighbours(lab: Lab) -> None:
    """Warn of a lab that can fill the table in which the kernel has the ARP entries of all hosts."""
    entries, most = lab.hosts * (lab.hosts - 1) // lab.segments, setting(NEIGHBOURS)
    if most is not None and entries > most * NEAR:
        print(
            f"warning: {lab.hosts} hosts that all talk to each other make {entries} ARP entries, and this machine "
            f"holds {most} for all labs: if hosts are not reached, raise {NEIGHBOURS}",
            file=sys.stderr,
        )


def setting(name: str) -> int | None:
    """Return a sysctl of this machine; None in a container that does not see it."""
    path = PROC / "sys" / name.replace(".", os.sep)
    return int(path.read_text()) if path.exists() else None


def counted(hosts: int) -> str:
    """Say a number of hosts."""
    return "1 host" if hosts == 1 else f"{hosts} hosts"
