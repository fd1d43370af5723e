"""All tables of a host at once: one remote command, whatever the number of peers."""

from collections.abc import Sequence
from typing import TypedDict

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts import (
    addresses,
    chains,
    fdb,
    files,
    fous,
    keys,
    kinds,
    links,
    neighbours,
    offloads,
    peers,
    pods,
    ports,
    processes,
    reservations,
    routes,
    sysctls,
    vfs,
)
from podnet.facts.reading import document, strictly
from podnet.state import State

MARK = "==podnet=="
TOOLS = {
    ("ip",): "iproute2",
    ("bridge",): "iproute2",
    ("sysctl",): "procps",
    ("iptables-save", "nft"): "iptables, or the package nftables",
}
"""What a host needs one of, and the package that holds it."""

ALWAYS = ("net/ipv4/conf/*/forwarding", "net/ipv6/conf/all/accept_ra")
"""Settings that `podnet.plan` always needs: what writing ip_forward overwrites, and whether there is IPv6."""


class Node(FactBase[State | None]):
    """Everything that podnet could own on a host, as podnet.state.State.

    `paths` and `pod_paths` are the settings to read, of the host and of each pod; of `device_kinds` it is
    told which the kernel lacks, and of the devices in `offloading` whether they offload checksums. `stay` are
    namespaces of which nobody needs to know who runs in them.

    .. code:: python

        have = host.get_fact(Node, paths=["net/ipv4/ip_forward"], device_kinds=["vxlan"])
        assert any(link.dev == "flannel.1" for link in have.links)
    """

    @override
    def command(
        self,
        paths: Sequence[str] = (),
        pod_paths: Sequence[str] = (),
        device_kinds: Sequence[str] = (),
        offloading: Sequence[str] = (),
        stay: Sequence[str] = (),
    ) -> str:
        return script(paths, pod_paths, device_kinds, offloading, stay)

    @override
    def process(self, output: list[str]) -> State | None:
        with strictly("the answer"):
            return parse(output)


class Asked(TypedDict):
    """What to ask a host beyond its tables, to compare it with a wanted state."""

    paths: tuple[str, ...]
    pod_paths: tuple[str, ...]
    device_kinds: tuple[str, ...]
    offloading: tuple[str, ...]
    stay: tuple[str, ...]


def asked(want: State) -> Asked:
    """Name the settings to read, of the host and inside pods, and the kinds of devices that are needed."""
    spaces = [want, *want.pods.values()]
    return Asked(
        paths=tuple(sorted(item.path for item in want.sysctls)),
        pod_paths=tuple(sorted({item.path for pod in want.pods.values() for item in pod.sysctls})),
        device_kinds=tuple(sorted({kind for space in spaces for kind in kinds.of(space)})),
        offloading=tuple(sorted(item.dev for item in want.offloads)),
        stay=tuple(sorted(want.pods)),
    )


def script(
    paths: Sequence[str] = (),
    pod_paths: Sequence[str] = (),
    device_kinds: Sequence[str] = (),
    offloading: Sequence[str] = (),
    stay: Sequence[str] = (),
) -> str:
    """Spell the shell script that prints every table under a heading of its own. The first failure ends it."""
    tables = {
        "files": files.script(),  # first: it waits until the host has booted
        "links": "\n".join(links.COMMANDS),
        "vfs": vfs.SCRIPT.strip(),
        "addresses": addresses.COMMAND,
        "neighbours": neighbours.COMMAND,
        "fdb": fdb.COMMAND,
        "fous": fous.COMMAND,
        "offloads": offloads.script(offloading),
        "peers": peers.COMMAND,
        "keys": keys.COMMAND,
        "routes": routes.COMMAND,
        "sysctls": f"({sysctls.script([*paths, *ALWAYS, sysctls.saved_paths()])})",
        "saved": sysctls.saved_script(),
        "chains": chains.SCRIPT,
        "pods": pods.script(pod_paths),
        "processes": processes.script(stay),
        "reservations": reservations.COMMAND,
        "lacks": kinds.script(device_kinds),
    }
    root = "podnet must be root on this host: give its inventory `_sudo`, or log in as root"
    needs = [f"if [ $(id -u) != 0 ]; then echo '{root}' >&2; exit 1; fi"]
    needs += [
        " || ".join(f"command -v {tool} >/dev/null" for tool in tools)
        + f" || {{ echo 'podnet needs {' or '.join(tools)} on this host: install the package {package}' >&2; exit 1; }}"
        for tools, package in TOOLS.items()
    ]
    parts = [f"echo '{MARK} {table}'\n{command}" for table, command in tables.items()]
    return "\n".join(["set -eu", *needs, *parts, f"echo '{MARK} end'"])


def parse(output: list[str]) -> State:
    """Read what `script` printed; ValueError unless it is whole."""
    chunks: dict[str, list[str]] = {}
    for line in output:
        if line.startswith(MARK):
            heading = line.removeprefix(MARK).strip()
            chunks[heading] = []
        elif chunks:  # what comes before the first heading is a login shell's greeting
            chunks[heading].append(line)
    if "end" not in chunks:
        raise ValueError("it was cut short")
    devices, namespaces = links.read(chunks["links"])
    firewall = chains.read(chunks["chains"])
    return State(
        links=links.parse(devices, namespaces, peers.tunnels(chunks["peers"])),
        vfs=vfs.parse(chunks["vfs"], devices),
        ports=ports.parse(devices),
        addresses=addresses.parse(document(chunks["addresses"])),
        neighbours=neighbours.parse(document(chunks["neighbours"])),
        fdb=fdb.parse(document(chunks["fdb"])),
        fous=fous.parse(chunks["fous"]),
        peers=peers.parse(chunks["peers"]),
        keys=keys.parse(chunks["keys"]),
        routes=routes.parse(document(chunks["routes"])),
        sysctls=sysctls.parse(sorted(set(chunks["sysctls"]))),
        saved=sysctls.parse_saved(chunks["saved"]),
        offloads=offloads.parse(chunks["offloads"]),
        chains=firewall.chains,
        openings=firewall.openings,
        firewall=firewall.firewall,
        pods=pods.parse(chunks["pods"], links.indices(devices)),
        running=processes.parse(chunks["processes"]),
        files=files.parse(chunks["files"]),
        folders=files.parse_folders(chunks["files"]),
        reservations=reservations.parse(chunks["reservations"]),
        last_reserved=reservations.parse_last(chunks["reservations"]),
        lacks=kinds.parse(chunks["lacks"]),
        unloaded=fous.unloaded(chunks["fous"]),
    )
