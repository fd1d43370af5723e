"""Experiments with the reference CNI plugins: who gives out which address, on one host and on two (5 and 11)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from podnet.inventory import read
from podnet.marks import SUBNET_ENV
from podnet.modes import vxlan, wanted
from podnet.state import File
from tests.lab.by_hand import SOON, Hand

SHAPE = ("--hosts", "2")
NODE1, NODE2 = "192.168.56.11", "192.168.56.12"
STORE = "/var/lib/cni/networks"
ENV = """FLANNEL_NETWORK=172.22.0.0/16
FLANNEL_SUBNET=172.22.0.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


@pytest.fixture(autouse=True)
def forgotten(hand: Hand) -> Iterator[None]:
    """Forget, after each experiment, which addresses were given."""
    yield
    for host in sorted(hand.touched):
        hand.sh(host, f"rm -rf {STORE}/cbr0 {STORE}/docker")


def call(hand: Hand, host: str, command: str, container: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Have the plugin bridge do something for a namespace."""
    whole = {"cniVersion": "1.0.0", "type": "bridge", "isDefaultGateway": True, "ipMasq": False, **conf}
    whom = f"CNI_CONTAINERID={container} CNI_NETNS=/run/netns/{container} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni"
    said = hand.sh(host, f"CNI_COMMAND={command} {whom} /usr/lib/cni/bridge <<'CONF'\n{json.dumps(whole)}\nCONF")
    result: dict[str, Any] = json.loads(said or "{}")
    return result


def add(hand: Hand, host: str, container: str, conf: dict[str, Any]) -> str:
    """Make a namespace, have it attached, and return its address."""
    hand.sh(host, f"ip netns add {container}")
    (ip,) = call(hand, host, "ADD", container, conf)["ips"]
    return str(ip["address"])


def delete(hand: Hand, host: str, container: str, conf: dict[str, Any]) -> None:
    """Detach it, and remove the namespace."""
    call(hand, host, "DEL", container, conf)
    hand.sh(host, f"ip netns del {container}")


def docker0(subnet: str) -> dict[str, Any]:
    """Configure a host as docker does: all hosts alike, or with `--bip` each with a subnet of its own."""
    ipam = {"type": "host-local", "subnet": subnet}
    return {"name": "docker", "bridge": "docker0", "ipam": ipam}


CBR0 = {
    "name": "cbr0",
    "bridge": "cni0",
    "mtu": 1450,
    "hairpinMode": True,
    "ipam": {"type": "host-local", "subnet": "172.22.0.0/24"},
}


def test_containers_of_two_hosts_get_the_same_address_without_subnets(hand: Hand) -> None:
    """Each host gives out 172.17.0.2; who asks for it talks to the one beside, or to itself."""
    conf = docker0("172.17.0.0/16")
    for host in ("node1", "node2"):
        assert [add(hand, host, name, conf) for name in ("c1", "c2")] == ["172.17.0.2/16", "172.17.0.3/16"]
        assert hand.ping(host, "172.17.0.3", "c1") == 64
    delete(hand, "node1", "c2", conf)  # node2's is there still, but nobody on node1 is led there
    hand.sh("node1", f"ip route add 172.17.0.3/32 via {NODE2} dev eth0")
    assert hand.ping("node1", "172.17.0.3", "c1", SOON) is None


def test_addresses_are_unique_where_each_host_has_a_subnet(hand: Hand) -> None:
    """`--bip` keeps docker0 to the host's part of 172.17.0.0/16; with a route to the other's part all reach all."""
    parts = {"node1": ("172.17.1.0/24", NODE2, "172.17.2.0/24"), "node2": ("172.17.2.0/24", NODE1, "172.17.1.0/24")}
    held = {host: add(hand, host, "c1", docker0(own)) for host, (own, _, _) in parts.items()}
    assert held == {"node1": "172.17.1.2/24", "node2": "172.17.2.2/24"}
    for host, (_, peer, theirs) in parts.items():
        hand.sh(host, f"ip route add {theirs} via {peer} dev eth0")
    assert hand.ping("node1", "172.17.2.2", "c1") == 62
    assert hand.ping("node2", "172.17.1.2", "c1") == 62


def test_the_plugins_leave_a_file_for_each_address(hand: Hand) -> None:
    """Named after it, with the container's id and interface; beside the last that was given, and a lock."""
    assert [add(hand, "node1", name, CBR0) for name in ("c1", "c2")] == ["172.22.0.2/24", "172.22.0.3/24"]
    store = f"{STORE}/cbr0"
    assert hand.sh("node1", f"ls {store}").split() == ["172.22.0.2", "172.22.0.3", "last_reserved_ip.0", "lock"]
    assert hand.sh("node1", f"od -An -c {store}/172.22.0.3").split() == ["c", "2", r"\r", r"\n", "e", "t", "h", "0"]
    assert hand.sh("node1", f"cat {store}/last_reserved_ip.0") == "172.22.0.3"
    (link,) = hand.json("node1", "ip -j link show cni0")
    assert link["mtu"] == 1450
    assert hand.json("node1", "ip -j -4 addr show dev cni0")[0]["addr_info"][0]["local"] == "172.22.0.1"
    ports = hand.json("node1", "ip -d -j link show master cni0")
    assert [(port["mtu"], port["linkinfo"]["info_slave_data"]["hairpin"]) for port in ports] == [(1450, True)] * 2
    routes = hand.json("node1", "ip -n c1 -j route")
    assert {route["dst"]: route.get("gateway") for route in routes} == {"default": "172.22.0.1", "172.22.0.0/24": None}
    assert hand.ping("node1", "172.22.0.3", "c1") == 64
    assert "MASQUERADE" not in hand.sh("node1", "iptables-save -t nat")


def test_the_next_address_after_the_last_is_given_and_released_ones_wait(hand: Hand) -> None:
    """A neighbour that remembers a released one asks nobody's successor at once; at the end it begins anew."""
    few = {**CBR0, "ipam": {"type": "host-local", "subnet": "172.22.0.0/29"}}
    assert [add(hand, "node1", name, few) for name in ("c1", "c2")] == ["172.22.0.2/29", "172.22.0.3/29"]
    delete(hand, "node1", "c2", few)
    assert add(hand, "node1", "c3", few) == "172.22.0.4/29"
    delete(hand, "node1", "c1", few)
    assert [add(hand, "node1", name, few) for name in ("c4", "c5", "c6")] == [
        *("172.22.0.5/29", "172.22.0.6/29", "172.22.0.2/29")
    ]
    assert add(hand, "node1", "c7", few) == "172.22.0.3/29"
    hand.sh("node1", "ip netns add c8")
    whole = json.dumps({"cniVersion": "1.0.0", "type": "bridge", "isDefaultGateway": True, **few})
    whom = "CNI_CONTAINERID=c8 CNI_NETNS=/run/netns/c8 CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni"
    words = hand.refused("node1", f"CNI_COMMAND=ADD {whom} /usr/lib/cni/bridge <<'CONF'\n{whole}\nCONF")
    assert "no IP addresses available in range set: 172.22.0.1-172.22.0.6" in words


def test_podnet_writes_the_experiments_subnet_env() -> None:
    """To the byte, for the first node of 172.22.0.0/16."""
    data = {"address": f"{NODE1}/24", "uplink": "eth0", "pod_subnet": "172.22.0.0/24", "network": "172.22.0.0/16"}
    cluster = read({"node1": data})
    files = {file.path: file for file in wanted(vxlan, cluster, cluster.node("node1")).files}
    file = files[cluster.marks.place(SUBNET_ENV)]
    assert isinstance(file, File)
    assert file.text == ENV
