"""`make bench`: measure how podnet converges and what that grows with, and write it into the docs.

With numbers, labs of so many hosts are measured and nothing is written: `.venv/bin/python -m benchmarks 3 8`.
"""

import signal
import sys
from collections.abc import Iterator

from benchmarks import converge, kernel, phases, planning, plot, throughput
from benchmarks.running import machine
from tests.lab.at import CLONE

DOCS = CLONE / "docs"

HEAD = """# How fast, and what it costs

`make bench` makes labs of containers, measures, and writes this page and its pictures. What the numbers mean:
[scale.md](scale.md).

{machine}

## Converging, beside what others take

All from hosts that hold nothing to the mode vxlan with two pods a host, and the same lines for everybody, the file for
the next boot included: `benchmarks/ways.py`. A multiple of the time in which parallel OpenSSH sends finished batches,
and seconds. Medians of {rounds} rounds, all ways in turn; commands in Ansible's loops are measured once, on up to
{slow} hosts. Hosts and controller share the processors. Memory is what all processes hold together (PSS), traffic is
counted on 127.0.0.1 with what hosts answer.

![Seconds by hosts](converge.svg)

"""
PHASES = f"""## Where the time goes

The phases of an apply to {phases.HOSTS} hosts, and the floor beside it: medians of {phases.ROUNDS} rounds of their own.
In a lab the hosts' processors are this machine's as well.

"""
PLANNING = """## Planning without hosts

`python -m benchmarks.planning`. Of a cluster's hosts, each one's whole batch is computed and spelled, one after the
other, and none is kept: three entries a peer, twice, since the file for the next boot has them too. Seconds are the
processor's, on one core. At the end a host is compared with what it should hold, when of a hundred entries one is
missing, one wrong and one extra: to tell the differences, and to spell what mends them. Where not all hosts were
planned, the picture has as many times more.

![Seconds by nodes](planning.svg)

"""
KERNEL = """## One host with many peers

A lab's host and an inventory of so many peers, `pyinfra --limit node1`: whole commands from start to end.

![Seconds by peers](kernel.svg)

"""


def convergence(found: list[converge.Found]) -> Iterator[str]:
    """Write the part about labs."""
    yield from converge.ratios(found)
    yield ""
    for one in found:
        yield from (*converge.burdens(one), "")
    yield from ("Targets:", "", *converge.targets(found), "")


def costs(found: list[converge.Found]) -> list[str]:
    """Measure what is not about other ways, and draw all of it; return the page's further parts."""
    shares = phases.measured()
    steps, rates = kernel.measured()
    planned = [planning.apart(*size) for size in planning.SIZES.items()]
    said = [PHASES, *phases.rows(shares), "", phases.verdict(shares), ""]
    said += [PLANNING, *planning.rows(planned), "", KERNEL, *kernel.rows(steps), "", rates]
    curves = {
        name: [(one.size, one.median(name)) for one in found if name in one.costs] for name in converge.names(found)
    }
    (DOCS / "converge.svg").write_text(plot.svg("Seconds by hosts", "hosts", "seconds", curves))
    (DOCS / "kernel.svg").write_text(plot.svg("Seconds by peers", "peers", "seconds", kernel.curves(steps)))
    (DOCS / "planning.svg").write_text(plot.svg("Seconds by nodes", "nodes", "seconds", planning.curves(planned)))
    return said


def main(*words: str) -> None:
    """Measure, print, and write the pages if everything was measured."""
    found = [converge.measured(size) for size in map(int, words or converge.SIZES)]
    said = [*convergence(found)]
    if not words:
        said += costs(found)
        head = HEAD.format(machine=machine(), rounds=converge.ROUNDS, slow=converge.SLOW_UP_TO)
        (DOCS / "scale-figures.md").write_text(head + "\n".join(said) + "\n")
        said += throughput.write(throughput.everywhere())
    print("\n".join(said))


if __name__ == "__main__":
    # Who is told to end takes labs away, and gives settings back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    main(*sys.argv[1:])
