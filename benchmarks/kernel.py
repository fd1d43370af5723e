"""What one host costs when it has many peers: 1,000 and 5,000, whose entries its kernel really holds.

`make bench` runs it on a lab of one container host, in the mode vxlan; the peers are in the inventory only, and
`--limit` has pyinfra contact nobody but the host. Timed are whole commands: a first apply, one that finds nothing to
do, one that finds an entry gone, the verification of the kernel's tables, and a teardown. Figures are medians of
ROUNDS rounds; one before them is watched, for its memory.
"""

import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks import planning
from benchmarks.converge import table
from benchmarks.running import Command, Cost, run
from podnet.verify import inventory
from tests.lab.at import BIN, CLONE, At

PEERS = (100, 1000, 5000)
ROUNDS = 3
STATE = CLONE / "podnet" / "verify" / "test_state.py"
DAMAGE = "ip route del $(ip route show proto 77 dev flannel.1 | head -n 1 | cut -d' ' -f1) dev flannel.1"


def crowd(at: At, peers: int, file: Path) -> None:
    """Write an inventory in which the lab's host has so many peers."""
    ((name, host),) = inventory.load(at.inventory).items()
    ((_, own), *others) = planning.inventory(peers + 1).items()
    near = {**host, **{field: own[field] for field in ("pod_subnet", "network")}}
    common = {field: value for field, value in host.items() if field in {"underlay_mtu", "vni", "vxlan_port"}}
    far = {
        f"peer{number}": {**other, **common, "masquerade": host["masquerade"]}
        for number, (_, other) in enumerate(others)
    }
    inventory.write(file, {name: near, **far})


def deploy(file: Path, name: str, *options: str) -> Command:
    """Run a deploy on the lab's host alone."""
    return Command([BIN / "pyinfra", "-y", "--limit", "node1", *options, file, CLONE / "deploys" / f"{name}.py"])


ENTRIES = {
    "routes": ("ip", "route add 10.%d.%d.0/24 dev scale"),
    "neighbours": ("ip", "neigh add 10.%d.%d.1 lladdr 02:00:00:00:00:01 dev scale nud permanent"),
    "FDB entries": ("bridge", "fdb add 02:00:00:00:%02x:%02x dev scale dst 192.0.2.1"),
}
BATCH = 5000
ALONE = 500
THRESHOLD = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")

Measured = dict[int, dict[str, list[Cost]]]
"""By the number of peers and the step: what each round has cost."""


def steps(at: At, file: Path, *, watched: bool) -> Iterator[tuple[str, Cost]]:
    """Go once through all that is timed."""
    apply, remove = deploy(file, "vxlan"), deploy(file, "teardown")
    verify = Command([BIN / "pytest", "--hosts=node1", f"--inventory={file}", "--mode=vxlan", STATE])
    yield "first apply", run([apply], watched=watched)
    yield "no change", run([apply], watched=watched)
    at.sh("node1", DAMAGE)
    yield "an entry damaged", run([apply], watched=watched)
    yield "verification of tables", run([verify], watched=watched)
    yield "teardown", run([remove], watched=watched)


def rate(at: At, tool: str, form: str, count: int, command: str) -> float:
    """Have node1 make entries by a command that reads them from /run/entries; return how many it makes a second."""
    said = at.sh(
        "node1",
        f"""
ip link add scale type vxlan id 4242 dstport 4790
ip link set scale up
seq 0 {count - 1} | awk '{{ printf "{form}\\n", int($1 / 256), $1 % 256 }}' >/run/entries
start=$(date +%s%N)
{command.format(tool=tool)}
echo $(($(date +%s%N) - start))
ip link del scale
""",
    )
    return count / (int(said) / 1e9)


def taken(at: At) -> str:
    """Say how fast the kernel takes entries, and how many neighbours it held at most."""
    rates = {
        what: statistics.median(rate(at, tool, form, BATCH, "{tool} -batch /run/entries") for _ in range(ROUNDS))
        for what, (tool, form) in ENTRIES.items()
    }
    alone = rate(at, *ENTRIES["routes"], ALONE, "while read -r line; do {tool} $line; done </run/entries")
    batch = ", ".join(f"{value:,.0f} {what}" for what, value in rates.items())
    return (
        f"From a batch of {BATCH:,} the kernel takes {batch} a second; {alone:,.0f} routes where each has a process. "
        f"{BATCH:,} permanent neighbours were held where gc_thresh3, of the whole machine, is "
        f"{int(THRESHOLD.read_text()):,}."
    )


def measured() -> tuple[Measured, str]:
    """Measure everything on a lab of one host."""
    at = At("bench")
    found: Measured = {peers: defaultdict(list) for peers in PEERS}
    try:
        at.up("--hosts", "1")
        said = taken(at)
        with tempfile.TemporaryDirectory() as folder:
            for peers, costs in found.items():
                file = Path(folder, f"{peers}.py")
                crowd(at, peers, file)
                for number in range(1, ROUNDS + 2):
                    print(f"{peers} peers: round {number} of {ROUNDS + 1}", file=sys.stderr)
                    for name, cost in steps(at, file, watched=number == 1):
                        costs[name].append(cost)
    finally:
        at.down()
    return found, said


def median(costs: list[Cost], what: str = "seconds") -> float:
    """Return the median of all rounds but, if there are others, the one that was watched."""
    return statistics.median(float(getattr(cost, what)) for cost in costs[1:] or costs)


def rows(found: Measured) -> list[str]:
    """Write a table."""
    lines = [
        [
            f"{peers:,}",
            name,
            f"{median(costs):.2f}",
            f"{median(costs, 'processor'):.2f}",
            f"{max(cost.memory for cost in costs):.0f}",
            f"{min(cost.traffic for cost in costs) / 1000:.0f}",
        ]
        for peers, each in found.items()
        for name, costs in each.items()
    ]
    return table(["Peers", "", "Seconds", "Of the controller's processor", "Peak MB", "kB, both ways"], lines)


def curves(found: Measured) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each step by peers."""
    names = dict.fromkeys(name for each in found.values() for name in each)
    return {name: [(peers, median(each[name])) for peers, each in found.items()] for name in names}


if __name__ == "__main__":
    steps_of, rates_of = measured()
    print("\n".join([*rows(steps_of), "", rates_of]))
