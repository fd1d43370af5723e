"""How fast pods of two nodes talk, as a share of what the nodes' own addresses do on the same underlay.

`make throughput` makes a lab of two containers, then one of two VMs, and on each goes through all modes that connect
nodes, ROUNDS times in turn. Each time it sends, PAIRS times, one TCP stream from node to node and one from pod to pod,
right after each other, and divides. It prints the median of these shares, and between what the middle half of them
lies. A share says more than a rate: it changes less with the machine, and with what else the machine does; yet run it
on a machine that does nothing else. In a lab there is no wire: all is work of this machine's processors, so packing
weighs more than on hardware. Two modes that do the same tell the error: with one segment, vxlan_direct_routing is
host_gw.
"""

import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from podnet.verify.numbers import NUMBERS
from tests.lab.at import BIN, At

ROUNDS = {"containers": 3, "VMs": 1}
PAIRS = 4
SECONDS = 1
PORT = 5001

# perl is what every Debian has; 256 KiB at a time, so that it has little to do itself.
RECEIVE = """
socket(S, 2, 1, 6); setsockopt(S, 1, 2, 1);
bind(S, sockaddr_in($ARGV[0], INADDR_ANY)) or die "bind: $!"; listen(S, 1);
accept(C, S); sub now { open(U, "/proc/uptime"); return (split " ", <U>)[0] }
while ($n = sysread(C, $b, 262144)) { $start ||= now(); $sum += $n }
printf "%d\\n", $sum / (now() - $start);
"""
SEND = """
$to = sockaddr_in($ARGV[1], inet_aton($ARGV[0])); $b = "x" x 262144; $tries = 0;
do { socket(S, 2, 1, 6); $up = connect(S, $to) or select(undef, undef, undef, 0.05) } until $up or $tries++ > 100;
die "connect: $!" unless $up; $end = time + $ARGV[2];
while (time <= $end) { syswrite(S, $b) or die "write: $!" }
"""


def rate(at: At, to: str, netns: str = "") -> int:
    """Send from node1 to node2, inside the namespace of that name if there is one; return bytes per second."""
    inside = ["ip", "netns", "exec", netns] if netns else []
    on = [str(BIN / "podnet"), "lab", "exec", "--name", at.name]
    perl = ["nice", "-n", "-15", *inside, "perl", "-MSocket", "-e"]
    with subprocess.Popen([*on, "node2", "--", *perl, RECEIVE, str(PORT)], stdout=subprocess.PIPE, text=True) as taking:
        sent = [*on, "node1", "--", *perl, SEND, to, str(PORT), str(SECONDS)]
        try:
            subprocess.run(sent, check=True)
            return int(taking.communicate(timeout=30)[0])
        finally:
            taking.kill()


def shares(at: At, mode: str) -> list[float]:
    """Compare pods with nodes in that mode; nothing, if this kernel lacks what the mode needs."""
    applied = at.apply(f"deploys/{mode}.py")
    if applied.code != 0 and "this kernel lacks" in applied.log:
        return []
    if applied.code != 0:
        sys.exit(applied.log)
    return [rate(at, "10.244.2.2", "podnet-pod1") / rate(at, "192.168.56.12") for _ in range(PAIRS)]


def measured(kind: str, *options: str) -> dict[str, list[float]]:
    """Make a lab of that kind and measure every mode on it."""
    at = At(f"speed-{kind.lower()}")
    seen: dict[str, list[float]] = {mode: [] for mode, numbers in sorted(NUMBERS.items()) if numbers.on_uplink}
    at.up("--hosts", "2", *options)
    try:
        for number in range(1, ROUNDS[kind] + 1):
            print(f"{kind}: round {number} of {ROUNDS[kind]}", file=sys.stderr)
            for mode, found in seen.items():
                if number == 1 or found:
                    found.extend(shares(at, mode))
    finally:
        at.down()
    return seen


def main() -> None:
    """Measure, and print a row for every mode."""
    containers, vms = measured("containers"), measured("VMs", "--vms")
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    load = os.getloadavg()[2]
    print(f"{model.partition(': ')[2]}, {os.cpu_count()} processors, load {load:.1f}, Linux {platform.release()}")
    print(f"{'':22}{'containers':24}VMs")
    for mode, found in containers.items():
        print(f"{mode:22}{told(found):24}{told(vms[mode])}")


def told(found: list[float]) -> str:
    """Write the median, and the middle half."""
    if not found:
        return "this kernel lacks it"
    low, middle, high = statistics.quantiles(found, n=4)
    return f"{middle:.2f}  ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
