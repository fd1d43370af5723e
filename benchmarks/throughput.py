"""How fast pods of two nodes talk, as a share of what the nodes' own addresses do on the same underlay.

`make throughput` makes a lab of two fresh hosts, and goes through all modes that connect nodes, ROUNDS times in turn.
Each time it sends one TCP stream from node to node and one from pod to pod, right after each other, and divides. A
share says more than a rate: it changes less with the machine and with what else the machine does. In a lab of
containers there is no wire: all of it is work of this machine's processors, so packing weighs more than on hardware.
"""

import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from podnet.verify.numbers import NUMBERS
from tests.lab.at import BIN, At

ROUNDS = 5
SECONDS = 2
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
    perl = [*inside, "perl", "-MSocket", "-e"]
    with subprocess.Popen([*on, "node2", "--", *perl, RECEIVE, str(PORT)], stdout=subprocess.PIPE, text=True) as taking:
        sent = [*on, "node1", "--", *perl, SEND, to, str(PORT), str(SECONDS)]
        try:
            subprocess.run(sent, check=True)
            return int(taking.communicate(timeout=30)[0])
        finally:
            taking.kill()


def share(at: At, mode: str) -> float | None:
    """Compare pods with nodes in that mode; None if this kernel lacks what the mode needs."""
    applied = at.apply(f"deploys/{mode}.py")
    if applied.code != 0 and "this kernel lacks" in applied.log:
        return None
    if applied.code != 0:
        sys.exit(applied.log)
    return rate(at, "10.244.2.2", "podnet-pod1") / rate(at, "192.168.56.12")


def main() -> None:
    """Measure, and print a row for every mode."""
    at = At("throughput")
    shares: dict[str, list[float]] = {mode: [] for mode, numbers in sorted(NUMBERS.items()) if numbers.across}
    at.up("--hosts", "2")
    try:
        for number in range(1, ROUNDS + 1):
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            for mode, seen in shares.items():
                if number == 1 or seen:
                    seen += [value for value in [share(at, mode)] if value is not None]
    finally:
        at.down()
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    print(f"{model.partition(': ')[2]}, {os.cpu_count()} processors, Linux {platform.release()}")
    for mode, seen in shares.items():
        middle = (
            f"{statistics.median(seen):.2f}  ({min(seen):.2f} to {max(seen):.2f})" if seen else "this kernel lacks it"
        )
        print(f"{mode:22}{middle}")


if __name__ == "__main__":
    main()
