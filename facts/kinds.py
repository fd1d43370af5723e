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
TRIED = f"""for kind; do
  case $kind in
    {FOU}) said=$(ip fou add port 1 ipproto 4 2>&1) ;;
    vxlan) said=$(ip link add vxlan type vxlan id 1 dstport 0 2>&1) ;; # without id ip does not ask the kernel
    *) said=$(ip link add $kind type $kind 2>&1) ;;
  esac || case $said in *"Unknown device type"* | *"No such file or directory"*) echo $kind ;; esac
done"""


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

    It has those of which there is a device, and those whose module is loaded, or could be. What is no module it has if
    it can be made in a namespace that nobody else sees; where the module is not there to be loaded, trying cannot load
    it. One namespace does for all: the kernel takes milliseconds to make and unmake it.
    """
    kinds = [kind for kind in device_kinds if kind != OFFLOAD]
    tools = [TOOLS[kind] for kind in device_kinds if kind in TOOLS]
    return "\n".join(
        ["(links=$(ip -d -j link show); set --" if kinds else "(set --"]
        + [f'{_needed(kind)} || set -- "$@" {kind}' for kind in kinds]
        + [f"if [ $# -gt 0 ]; then unshare --net sh -c '{TRIED}' sh \"$@\"; fi)"]
        + [f"command -v {tool} >/dev/null || echo {tool}" for tool in tools]
    )


def _needed(kind: str) -> str:
    there = f'case $links in *\'"info_kind":"{kind}"\'*) ;; *) false ;; esac'
    return f"{there} || [ -d /sys/module/{kind} ] || {{ command -v modprobe >/dev/null && modprobe -nq {kind}; }}"


def parse(output: list[str]) -> frozenset[str]:
    """Read what `script` printed."""
    return frozenset(line.strip() for line in output if line.strip())
