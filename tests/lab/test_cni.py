"""What an apply leaves for others, read by others: the reference CNI plugins add containers beside podnet's pods."""

from collections.abc import Iterator

import pytest

from podnet.marks import CONFLIST, FIRST, SUBNET_ENV
from tests.lab.at import At
from tests.lab.plugins import STORE, called

ALL = {"node1", "node2", "node3"}
MODES = {"vxlan": (64, 62, 1450), "host_gw": (64, 62, 1500), "proxy_arp": (63, 62, 1500)}
"""The TTL of a reply on the same node and from another one, and the MTU."""
ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.2.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put the lab into each mode in turn."""
    at.into(request.param)
    yield request.param
    at.into("teardown")
    for host in ("node1", "node2"):
        at.sh(host, f"rm -rf {STORE}; if [ -e /run/netns/box ]; then ip netns del box; fi")


def ttl(at: At, host: str, netns: str, to: str) -> str:
    """Ping, and return the TTL of the reply."""
    said = at.sh(host, f"ip netns exec {netns} ping -n -c 1 -w 5 {to}")
    return said.partition("ttl=")[2].split()[0]


def test_containers_and_pods_reach_each_other(at: At, mode: str) -> None:
    """As far away as the mode promises; podnet finds nothing wrong, and nothing to do, while they are there."""
    near, far, mtu = MODES[mode]
    held = {}
    for host in ("node1", "node2"):
        at.sh(host, "ip netns add box")
        held[host] = called(at, host, "ADD", "box")
    address = {host: result["ips"][0]["address"].partition("/")[0] for host, result in held.items()}
    assert address == {"node1": "10.244.1.4", "node2": "10.244.2.4"}  # behind the two pods
    assert at.sh("node1", f"ls {STORE}").split() == ["10.244.1.4", "last_reserved_ip.0", "lock"]
    assert ttl(at, "node1", "box", "10.244.1.2") == ttl(at, "node1", "podnet-pod1", "10.244.1.4") == str(near)
    for netns in ("box", "podnet-pod1"):
        for to in ("10.244.2.2", "10.244.2.4"):
            assert ttl(at, "node1", netns, to) == str(far), (netns, to)
    assert f"mtu {mtu}" in at.sh("node1", "ip -n box link show eth0")
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert at.into(mode).unchanged == ALL
    called(at, "node1", "CHECK", "box", prevResult=held["node1"])
    for host in ("node1", "node2"):
        called(at, host, "DEL", "box")
        at.sh(host, "ip netns del box")
    assert at.sh("node1", f"ls {STORE}").split() == ["last_reserved_ip.0", "lock"]
    assert {host: at.differences(host, mode) for host in ALL} == {host: [] for host in ALL}


def test_subnet_env_is_there_again_after_a_reboot_and_gone_after_a_teardown(at: At) -> None:
    """As flannel writes it, and readable by all; deleted or changed by hand it is put back."""
    path = FIRST.place(SUBNET_ENV)
    at.into("vxlan")
    assert at.sh("node2", f"cat {path}; stat -c %a {path}") == f"{ENV}644\n"
    at.reboot("node2")
    at.back("node2")
    assert at.sh("node2", f"cat {path}") == ENV
    for damage in (f"echo >>{path}", f"rm {path}", f"rm {FIRST.place(CONFLIST)}"):
        at.sh("node2", damage)
        assert at.into("vxlan").changed == {"node2"}
        assert at.sh("node2", f"cat {path}") == ENV
    at.into("teardown")
    assert at.sh("node2", f"ls /etc/cni/net.d {path} 2>&1 | grep -c podnet || test $? = 1").strip() == "0"
    assert at.try_sh("node2", f"cat {path}").code != 0


def test_a_host_on_which_flannel_runs_is_refused(at: At) -> None:
    """Its subnet.env stays as it is, whatever podnet is told to do."""
    path = FIRST.place(SUBNET_ENV)
    theirs = ENV.replace("10.244.2", "10.244.77")
    at.sh("node2", f"mkdir -p /run/flannel; cat >{path} <<'ENV'\n{theirs}ENV")
    refused = at.apply()
    assert refused.failed == {"node2"}
    assert f"{path} is there, and nothing else of podnet's: flannel seems to run on this host" in refused.log
    at.into("teardown")
    assert at.sh("node2", f"cat {path}") == theirs
    at.sh("node2", f"rm {path}")
