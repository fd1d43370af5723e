"""What the verification costs, by the number of hosts: seconds, and remote commands.

`make verify-bench` makes labs of SIZES hosts with 2 pods each, one after the other, in the mode vxlan. On each it runs
the mesh of pings and the whole safe run ROUNDS times, as a user does, with Python's and pytest's start in it, and takes
the median. It counts what each host's sshd was asked to run, and takes the most that any host was. Then it takes the
tunnel from every host, so that no ping between hosts is answered, and runs the mesh once more. All hosts and
the verification share this machine's processors: on real hosts the pings of one take no time from another. It prints
the table and writes it into the docs.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from podnet.verify.mesh.probe import LARGER, LARGEST, SMALL
from tests.lab.at import CLONE, At

SIZES = (3, 8, 16)
PODS = 2
ROUNDS = 3
MESH = "podnet/verify/test_reach.py"
PAGE = CLONE / "docs" / "verification-figures.md"

HEAD = """# What the verification costs

`make verify-bench` makes labs of containers, measures, and writes this page. The mesh is every pod to every other and
to itself, each with a small packet, the largest and one byte more, all by one remote command on each host, after one
that reads its tables: where its pods are; the whole safe run is `pytest --hosts=...`. Seconds are those of the whole
command, with Python's start. Commands are what each host's sshd was asked to run, by the verification and by pyinfra,
which it has try a second apply: as many for any number of hosts. In the last column no ping from host to host is
answered.

"""


def hosts_of(count: int) -> list[str]:
    """Name the hosts of a lab."""
    return [f"node{number}" for number in range(1, count + 1)]


def timed(at: At, count: int, *options: str, good: bool = True) -> tuple[float, int]:
    """Run the verification; return its seconds, and the most commands that a host was sent."""
    before = {host: at.commands(host) for host in hosts_of(count)}
    start = time.monotonic()
    done = at.verify(*options, hosts=",".join(before))
    seconds = time.monotonic() - start
    if (done.code == 0) != good:
        sys.exit(done.said)
    return seconds, max(at.commands(host) - sent for host, sent in before.items())


def measured(count: int) -> str:
    """Measure a lab of so many hosts; return its row."""
    at = At("verify-bench")
    try:
        at.up("--hosts", str(count))
        at.into("vxlan")
        mesh = [timed(at, count, MESH) for _ in range(ROUNDS)]
        whole = [timed(at, count) for _ in range(ROUNDS)]
        for host in hosts_of(count):
            at.sh(host, "ip link del flannel.1")
        broken, _ = timed(at, count, MESH, good=False)
    finally:
        at.down()
    pods = PODS * count
    pings = len((SMALL, LARGEST, LARGER)) * pods * pods + count * (count - 1)
    return " | ".join(
        ["", str(count), str(pods * (pods - 1)), str(pings), *_told(mesh), *_told(whole), f"{broken:.1f}", ""]
    )


def _told(runs: list[tuple[float, int]]) -> Iterator[str]:
    yield f"{statistics.median(seconds for seconds, _ in runs):.1f}"
    yield str(max(commands for _, commands in runs))


def main() -> None:
    """Measure, print, and write the page."""
    rows = [measured(count).strip() for count in SIZES]
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    machine = (
        f"{model.partition(': ')[2]}, {os.cpu_count()} processors, Linux {platform.release()}; load of the last "
        f"quarter of an hour {os.getloadavg()[2]:.1f}."
    )
    titles = (
        "Hosts",
        "Ordered pairs",
        "Pings",
        *("Mesh, s", "Commands"),
        *("Whole run, s", "Commands"),
        "Broken mesh, s",
    )
    table = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *rows]
    PAGE.write_text(HEAD + "\n".join([*table, "", machine]) + "\n")
    print("\n".join([*table, "", machine]))


if __name__ == "__main__":
    main()
