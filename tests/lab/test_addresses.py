"""Pods and containers come to a host in any order: nobody gets an address twice, and nobody gets another one later."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.at import At
from tests.lab.plugins import STORE, called

ALL = {"node1", "node2", "node3"}
BOXES = {"node1": ["box1", "box2"], "node2": ["box1"]}
"""The containers of each host. They come first, and have .2 and .3."""
PODS = {"node1": ["4", "5"], "node2": ["4", "3"], "node3": ["2", "3"]}
"""What is then left for pod1 and pod2: the computed .2 and .3, if these are free, or what comes next."""
MODES = {"vxlan": 64, "host_gw": 64, "proxy_arp": 63}
"""The TTL of a reply on the same node; from another node it is 62 everywhere."""
FAR = 62


def asking(at: At, pods: object) -> Path:
    """Write an inventory in which each host has these pods."""
    path = at.path / "asking.py"
    path.write_text(f"{at.inventory.read_text()}\nfor _, _data in nodes[0]:\n    _data['pods'] = {pods!r}\n")
    return path


def addresses(at: At, host: str) -> dict[str, str]:
    """Ask every namespace of a host for the address that it really has."""
    said = at.sh(host, "for path in /run/netns/*; do echo ${path##*/} $(ip -n ${path##*/} -j -4 addr show eth0); done")
    found = [line.partition(" ") for line in said.splitlines()]
    return {name: json.loads(told)[0]["addr_info"][0]["local"] for name, _, told in found}


def add(at: At, host: str, name: str) -> str:
    """Have the plugins add a container, and return its address."""
    at.sh(host, f"ip netns add {name}")
    held: str = called(at, host, "ADD", name)["ips"][0]["address"]
    return held.partition("/")[0]


def remove(at: At, host: str, name: str) -> None:
    """Have the plugins remove it."""
    called(at, host, "DEL", name)
    at.sh(host, f"ip netns del {name}")


def expected(host: str) -> dict[str, str]:
    """Say who is to have which address on a host."""
    subnet = f"10.244.{host.removeprefix('node')}"
    boxes = {name: f"{subnet}.{i}" for i, name in enumerate(BOXES.get(host, ()), 2)}
    return boxes | {f"podnet-pod{i}": f"{subnet}.{last}" for i, last in enumerate(PODS[host], 1)}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put the lab into each mode, without pods; containers come before these."""
    mode: str = request.param
    at.into(mode, inventory=asking(at, 0))
    for host, names in BOXES.items():
        for name in names:
            add(at, host, name)
    yield mode
    done = at.apply("deploys/teardown.py", "--data", "cut_off=true")
    assert done.code == 0, done.log
    for host in ALL:
        left = at.sh(host, "ls /run/netns").split()
        at.sh(host, "\n".join([*(f"ip netns del {name}" for name in left), f"rm -rf {STORE}"]))


def test_pods_come_after_containers(at: At, mode: str) -> None:
    """By one apply, and for good; all reach one another, and the whole verification knows where they are."""
    before = {host: at.commands(host) for host in ALL}
    applied = at.into(mode)
    assert applied.changed == ALL
    assert "not as computed: podnet-pod1 has 10.244.1.4, podnet-pod2 has 10.244.1.5" in applied.log
    assert at.into(mode).unchanged == ALL
    assert {host: at.commands(host) - before[host] for host in ALL} == dict.fromkeys(ALL, 3)  # read, write; read
    held = {host: addresses(at, host) for host in sorted(ALL)}
    assert held == {host: expected(host) for host in held}
    assert at.sh("node1", f"cat {STORE}/last_reserved_ip.0") == "10.244.1.5"
    reached(at, mode, held)
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert {host: at.differences(host, mode) for host in ALL} == {host: [] for host in ALL}


def reached(at: At, mode: str, held: dict[str, dict[str, str]]) -> None:
    """Ping everybody from everybody, and look from how far away replies come."""
    for host, spaces in held.items():
        targets = {address: FAR if there != host else MODES[mode] for there in held for address in held[there].values()}
        for netns, own in spaces.items():
            others = {to: str(ttl) for to, ttl in targets.items() if to != own}
            said = at.sh(host, "".join(f"ip netns exec {netns} ping -n -c 1 -w 5 {to};" for to in others))
            ttls = [line.partition("ttl=")[2].split()[0] for line in said.splitlines() if "ttl=" in line]
            assert dict(zip(others, ttls, strict=True)) == others, (host, netns)


def test_a_pod_keeps_what_it_has(at: At, mode: str) -> None:
    """Whoever goes and comes, after a reboot, and where its place in the store was lost."""
    at.into(mode)
    remove(at, "node1", "box1")
    assert at.into(mode).unchanged == ALL
    assert add(at, "node1", "box3") == "10.244.1.6"  # host-local goes on from the pods
    at.into(mode, inventory=asking(at, 3))
    assert addresses(at, "node1")["podnet-pod3"] == "10.244.1.7"  # .4, its own, is pod1's
    pods = {host: own(at, host) for host in ALL}
    at.reboot(*sorted(ALL))
    at.back(*ALL)
    assert {host: own(at, host) for host in ALL} == pods
    assert at.into(mode, inventory=asking(at, 3)).unchanged == ALL
    at.sh("node1", f"rm {STORE}/10.244.1.[457]; ip -n podnet-pod2 route del default")
    assert at.into(mode, inventory=asking(at, 3)).changed == {"node1"}
    assert own(at, "node1") == pods["node1"]
    done = at.verify("podnet/verify/test_state.py", "podnet/verify/test_reach.py", mode=mode, inventory=asking(at, 3))
    assert done.code == 0, done.said


def test_what_changes_hosts_gives_pods_their_addresses_back(at: At) -> None:
    """With `--disruptive`, which takes a member away and switches to a mode that asks no store."""
    at.into("vxlan", inventory=asking(at, 0))
    for host, names in BOXES.items():
        for name in names:
            add(at, host, name)
    at.into("vxlan")
    for host, names in BOXES.items():
        for name in names:
            remove(at, host, name)
    pods = {host: own(at, host) for host in BOXES}
    assert pods["node2"] == {"podnet-pod1": "10.244.2.4", "podnet-pod2": "10.244.2.3"}
    files = [f"podnet/verify/disruptive/test_{name}.py" for name in ("member", "switch")]
    done = at.verify("--disruptive", "--other-mode=macvlan", *files, hosts="node1,node2")
    assert done.code == 0, done.said
    assert "switch from vxlan to macvlan" in done.out
    assert {host: own(at, host) for host in BOXES} == pods


def own(at: At, host: str) -> dict[str, str]:
    """Return what podnet's own pods have."""
    return {name: address for name, address in addresses(at, host).items() if name.startswith("podnet-")}
