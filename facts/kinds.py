"""Kinds of devices: which of those that are wanted the kernel cannot make."""

from collections.abc import Iterable

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, strictly
from podnet.state import Device, State

FOU = "fou"  # not a kind of device, but a module like theirs
OFFLOAD = "offload"  # nor is this one: what only a program can switch off
TOOLS = {"wireguard": "wg", OFFLOAD: "ethtool"}
"""Programs without which a kind is of no use."""
PROBE = {FOU: "ip fou add port 1 ipproto 4"}


class Kinds(FactBase[frozenset[str] | None]):
    """Those of `device_kinds` that this kernel lacks, by the names of their modules, and the tools that they need.

    .. code:: python

        lacks = host.get_fact(Kinds, device_kinds=["ipip", "wireguard"])
        assert "ipip" not in lacks
    """

    @override
    def command(self, device_kinds: Iterable[str]) -> str:
        return f"echo '{HEADING}'; {script(device_kinds)}"

    @override
    def process(self, output: list[str]) -> frozenset[str] | None:
        with strictly("the list of kinds"):
            return parse([line for line in output if line != HEADING])


def of(want: State) -> set[str]:
    """Name the kinds that a namespace needs."""
    kinds = {link.KIND for link in want.links if isinstance(link, Device) and link.KIND}
    offload = {OFFLOAD} if any(not offload.on for offload in want.offloads) else set()
    return kinds | ({FOU} if want.fous else set()) | offload


def script(device_kinds: Iterable[str]) -> str:
    """Print the kinds that the kernel lacks, without loading a module.

    It has those whose module is loaded, or could be. What is no module it has if it can be made in a namespace that
    nobody else sees; where the module is not there to be loaded, trying cannot load it.
    """
    probes = {kind: PROBE.get(kind, f"ip link add podnet0 type {kind}") for kind in device_kinds if kind != OFFLOAD}
    tools = [TOOLS[kind] for kind in device_kinds if kind in TOOLS]
    return "\n".join(
        [f"{_needed(kind)} || {{ {_tried(probe)}; }} || echo {kind}" for kind, probe in probes.items()]
        + [f"command -v {tool} >/dev/null || echo {tool}" for tool in tools]
    )


def _needed(kind: str) -> str:
    return f"[ -d /sys/module/{kind} ] || {{ command -v modprobe >/dev/null && modprobe -nq {kind}; }}"


def _tried(probe: str) -> str:
    unknown = "Unknown device type|No such file or directory"
    return f"said=$(unshare --net {probe} 2>&1) || ! echo \"$said\" | grep -Eq '{unknown}'"


def parse(output: list[str]) -> frozenset[str]:
    """Read what `script` printed."""
    return frozenset(line.strip() for line in output if line.strip())
