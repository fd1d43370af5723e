"""What `up` does inside of the lab's namespaces: `python -m podnet.labs.worker DIRECTORY`."""

import re
import shutil
import sys
import time
from collections import deque
from pathlib import Path

from podnet.labs import access, host, underlay
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.host import Host
from podnet.labs.keeper import RUN, ask
from podnet.labs.plan import Lab

BOOT_WITHIN = 60.0
AT_ONCE = 4
LOOK_EVERY = 0.02
TAIL = 15
PAINT = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # colours, and what else is for a terminal


def main() -> int:
    """Bring the lab to the shape that its directory says."""
    home = Home(Path(sys.argv[1]))
    lab, ports = home.load()
    try:
        remove_surplus(home, lab, ports)
        ports = {machine.name: ask("listen", machine.name, ports.get(machine.name, 0)) for machine in lab.machines}
        home.save(lab, ports)
        access.write(home, lab, ports)
        underlay.bridges(lab)
        boot([Host(home, machine, ports[machine.name]) for machine in lab.machines], lab)
    except LabError as error:
        print(f"podnet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def remove_surplus(home: Home, lab: Lab, ports: dict[str, int]) -> None:
    """Remove the hosts that the lab has and should not have."""
    for name in sorted(ports.keys() - {machine.name for machine in lab.machines}):
        host.stop(home, name, [name])
        ask("close", name)
        for directory in (RUN / name, home.path / name):
            if directory.exists():
                shutil.rmtree(directory)
        print(f"{name} is removed")


def boot(hosts: list[Host], lab: Lab) -> None:
    """Start the hosts that are not up, a few at a time, and see each of them answer."""
    names = access.names(lab)
    waiting = deque(host for host in hosts if not settled(host, names))
    booting: dict[Host, float] = {}
    failed: list[Host] = []
    while waiting or booting:
        while waiting and len(booting) < AT_ONCE:
            first = waiting.popleft()
            booting[first] = time.monotonic()
            first.start(lab.mtu, names)
        for one, start in list(booting.items()):
            elapsed = time.monotonic() - start
            if one.state == "up":
                print(f"{one.name} is up ({elapsed:.1f} s)", flush=True)
                del booting[one]
            elif elapsed > BOOT_WITHIN:
                failed.append(one)
                del booting[one]
        time.sleep(LOOK_EVERY)
    if failed:
        raise LabError("\n".join(complaint(one) for one in failed))


def settled(one: Host, names: str) -> bool:
    """Whether the host is up; if so it is only told of the others' names."""
    if one.state != "up":
        return False
    hosts = one.root / "etc/hosts"
    if hosts.read_text() != names:
        hosts.write_text(names)
    return True


def complaint(one: Host) -> str:
    """Say what is known of a host that did not come up."""
    console = one.home.console(one.name)
    said = [line for line in PAINT.sub("", console.read_text(errors="replace")).splitlines() if line.strip()]
    silent = f"{one.name} did not answer within {BOOT_WITHIN:.0f} s ({one.state})"
    if not said:
        return (
            f"{silent}, and {console} is empty: it ended before its first word, as it does where this machine has no "
            f"more memory, disk or processes for it: see `free`, `df`, `ulimit -a` and `dmesg`"
        )
    return "\n".join([f"{silent}; {console} ends with:", *said[-TAIL:]])


if __name__ == "__main__":
    sys.exit(main())
