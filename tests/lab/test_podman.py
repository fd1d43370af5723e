"""Containers of podman's on podnet's network, beside pods of podnet's own and such as CNI plugins have made."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.at import At, until
from tests.lab.busybox import ADDRESS, IMPORT, RUN, fetched, pinged
from tests.lab.plugins import STORE, called

NODES = {"node1": "192.168.56.11", "node2": "192.168.56.12", "node3": "192.168.56.13"}
MODES = {"vxlan": (64, 62), "host_gw": (64, 62), "proxy_arp": (63, 62)}
"""The TTL of a reply on the same node and from another one."""
SHELLS = {
    "pod": "ip netns exec podnet-pod1 busybox",
    "made by plugins": "ip netns exec box busybox",
    "container": "podman exec web busybox",
}
"""What runs a command of busybox's in each kind of pod."""


@dataclass(frozen=True)
class Mixed:
    """A lab in a mode, and the address of each kind of pod on each of its hosts."""

    at: At
    mode: str
    address: dict[tuple[str, str], str]


@pytest.fixture(scope="module", params=MODES)
def mixed(request: pytest.FixtureRequest, at: At) -> Iterator[Mixed]:
    """Put the lab into each mode in turn, with a pod of each kind on each host."""
    at.into(request.param)
    address = {}
    for host in NODES:
        address[host, "pod"] = str(at.cluster.node(host).pods[0].address)
        at.sh(host, "ip netns add box")
        address[host, "made by plugins"] = called(at, host, "ADD", "box")["ips"][0]["address"].partition("/")[0]
        at.sh(host, f"{IMPORT}; {RUN}")
        address[host, "container"] = at.sh(host, ADDRESS).strip()
    yield Mixed(at, request.param, address)
    for host in NODES:
        at.sh(host, "podman rm -f -t 0 web")
        called(at, host, "DEL", "box")
        at.sh(host, f"ip netns del box; rm -r {STORE}")
    at.into("teardown")


def test_a_second_apply_changes_nothing_while_containers_run(mixed: Mixed) -> None:
    """Neither a container's veth nor the rules of its published port are anything that podnet would mend."""
    assert mixed.at.into(mixed.mode).unchanged == NODES.keys()
    done = mixed.at.verify(mode=mixed.mode)
    assert done.code == 0, done.said


def test_pods_of_all_kinds_on_all_nodes_reach_each_other(mixed: Mixed) -> None:
    """Each at the address that it has, and as far away as the mode promises."""
    near, far = MODES[mixed.mode]
    for (host, kind), own in mixed.address.items():
        others = {address: whose for (whose, _), address in mixed.address.items() if address != own}
        seen = pinged(mixed.at, host, SHELLS[kind], others)
        assert seen == {address: near if whose == host else far for address, whose in others.items()}, (host, kind)


def test_a_published_port_is_reached_from_everywhere(mixed: Mixed) -> None:
    """By the node's address: from all pods and hosts, the container's own included; by localhost on the node itself."""
    url = f"http://{NODES['node1']}:8080/"
    shells = {(host, kind): shell for host in NODES for kind, shell in {**SHELLS, "host": "busybox"}.items()}
    seen = {(host, kind): fetched(mixed.at, host, shell, url) for (host, kind), shell in shells.items()}
    assert seen == dict.fromkeys(shells, "node1")
    assert fetched(mixed.at, "node1", "busybox", "http://127.0.0.1:8080/") == "node1"
    assert fetched(mixed.at, "node1", "busybox", f"http://{mixed.address['node2', 'container']}/") == "node2"


def test_a_removed_container_gives_its_address_and_its_port_back(mixed: Mixed) -> None:
    """host-local's file goes, and so do the rules; what comes next has another address, and the port again."""
    before = mixed.address["node3", "container"]
    assert before in mixed.at.sh("node3", f"ls {STORE}").split()
    mixed.at.sh("node3", "podman rm -f -t 0 web")
    assert before not in mixed.at.sh("node3", f"ls {STORE}").split()
    assert "--dport 8080" not in mixed.at.sh("node3", "iptables-save -t nat")
    mixed.at.sh("node3", RUN)
    mixed.address["node3", "container"] = mixed.at.sh("node3", ADDRESS).strip()
    assert mixed.address["node3", "container"] != before
    assert fetched(mixed.at, "node1", SHELLS["container"], f"http://{NODES['node3']}:8080/") == "node3"


def test_a_container_runs_in_a_pod_of_podnets_own(mixed: Mixed) -> None:
    """It has the pod's address, and nothing is left of it there."""
    own = mixed.address["node2", "pod"]
    run = "podman run --network ns:/run/netns/podnet-pod1 -v /etc/hostname:/index.html:ro"
    mixed.at.sh("node2", f"{run} -d --name inside busybox busybox httpd -f -h /")
    assert fetched(mixed.at, "node1", SHELLS["container"], f"http://{own}/") == "node2"
    refused = mixed.at.apply("deploys/teardown.py", "--limit", "node2")
    assert refused.code != 0
    assert "the pod podnet-pod1 would be removed, and busybox (" in refused.log
    mixed.at.sh("node2", "podman rm -f -t 0 inside")
    assert mixed.at.differences("node2", mixed.mode) == []


def test_a_container_that_is_started_after_a_reboot_is_on_the_network_again(mixed: Mixed) -> None:
    """podnet.service has made it before; podman's package has emptied host-local's store."""
    at = mixed.at
    at.reboot("node2")
    at.back("node2")
    at.sh("node2", "podman start web; ip netns add box")
    mixed.address["node2", "container"] = at.sh("node2", ADDRESS).strip()
    mixed.address["node2", "made by plugins"] = called(at, "node2", "ADD", "box")["ips"][0]["address"].partition("/")[0]
    url = f"http://{NODES['node2']}:8080/"
    until(lambda: fetched(mixed.at, "node1", SHELLS["pod"], url) == "node2", 10, "the container answers")
    assert at.into(mixed.mode).unchanged == NODES.keys()
