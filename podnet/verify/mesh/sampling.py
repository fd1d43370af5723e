"""Which pairs of pods are tried where there are more than are asked for, and what that may miss."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from podnet.cluster import Node, Pod

LIMIT = 10000
"""Ordered pairs of different pods that are tried unless `--pairs` says otherwise: all of 50 nodes with 2 pods each."""

Pair = tuple[Pod, Pod]


@dataclass(frozen=True)
class Sample:
    """Some of the ordered pairs of different pods, and what drew them.

    `targets` are the addresses that each pod, by its address, is to try. `misses_pair` is the probability that one
    broken pair is not among them, at its worst; `misses_nodes` the same of all pairs from one node to another.
    """

    targets: Mapping[IPv4Address, tuple[IPv4Address, ...]]
    of: int
    seed: int
    misses_pair: float
    misses_nodes: float

    @property
    def size(self) -> int:
        """Count the pairs."""
        return sum(map(len, self.targets.values()))

    @property
    def told(self) -> str:
        """Say what this run may have missed, and how to repeat or to widen it."""
        return (
            f"{self.size} of {self.of} pairs were tried, drawn with --pairs-seed={self.seed}; the probability of "
            f"missing one broken pair is at most {_percent(self.misses_pair)}, of missing a broken pair of nodes "
            f"{_percent(self.misses_nodes)}; --pairs={self.of} tries all"
        )


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def total(nodes: Sequence[Node]) -> int:
    """Count the ordered pairs of different pods."""
    pods = sum(len(node.pods) for node in nodes)
    return pods * (pods - 1)


def sample(nodes: Sequence[Node], limit: int, seed: int) -> Sample | None:
    """Draw as many pairs as the limit allows; None if it allows all.

    First one pair from every node to every node, itself too, since what breaks is mostly what two nodes have of each
    other; then others, each as likely as any. If the limit does not even reach every pair of nodes, some are drawn.
    """
    if total(nodes) <= limit:
        return None
    draw = random.Random(seed)  # noqa: S311  # a sample, no secret
    strata = [(a, b) for a in nodes for b in nodes if size(a, b)]
    if limit < len(strata):
        first = {_one(a, b, draw) for a, b in draw.sample(strata, limit)}
        chosen = first
    else:
        first = {_one(a, b, draw) for a, b in strata}
        # Of so many, drawn from all, enough are left when those are taken out that are there already.
        others = (pair for pair in _some(nodes, limit, draw) if pair not in first)
        chosen = first | {pair for pair, _ in zip(others, range(limit - len(first)), strict=False)}
    targets: dict[IPv4Address, list[IPv4Address]] = {}
    for source, target in chosen:
        targets.setdefault(source.address, []).append(target.address)
    return Sample(
        {source: tuple(sorted(found)) for source, found in targets.items()},
        total(nodes),
        seed,
        max(misses_pair(size(a, b), len(strata), total(nodes), limit) for a, b in strata),
        max(0.0, 1 - limit / len(strata)),
    )


def size(a: Node, b: Node) -> int:
    """Count the ordered pairs of different pods from node `a` to node `b`."""
    return len(a.pods) * (len(b.pods) - (a.name == b.name))


def misses_pair(of_its_nodes: int, strata: int, of_all: int, limit: int) -> float:
    """Compute the probability that a pair is not drawn.

    `of_its_nodes` are the pairs from its node to its other node, of which one is drawn if the limit reaches as many
    pairs of nodes (`strata`); what is left of the limit is drawn from what is left of all.
    """
    if limit < strata:
        return 1 - limit / strata / of_its_nodes
    return (1 - 1 / of_its_nodes) * (1 - (limit - strata) / (of_all - strata))


def _one(a: Node, b: Node, draw: random.Random) -> Pair:
    source = draw.choice(a.pods)
    return source, draw.choice([pod for pod in b.pods if pod != source])


def _some(nodes: Sequence[Node], count: int, draw: random.Random) -> Iterator[Pair]:
    """Draw different pairs, without listing all that there are."""
    pods = [pod for node in nodes for pod in node.pods]
    for number in draw.sample(range(total(nodes)), count):
        source, target = divmod(number, len(pods) - 1)
        yield pods[source], pods[target + (target >= source)]  # nobody is his own target


def any_seed() -> int:
    """Choose a seed: each run tries other pairs, so that many runs see all."""
    return random.SystemRandom().randrange(1_000_000)
