"""Policy routing: two pods of one node leave by different ways (experiment 14)."""

from pathlib import Path

from tests.lab.at import At

RULES = """
from ipaddress import IPv4Address, IPv4Network

from podnet.operations.routes import routes
from podnet.operations.rules import rules
from podnet.state import Route, Rule

by_node2 = Route(IPv4Network("203.0.113.0/24"), "eth0", IPv4Address("192.168.56.12"), table="100")
routes(name="The other way", want=[{route}], table="100")
rules(name="pod2 takes it", want=[{rule}])
"""
RULE = 'Rule(1000, "100", source=IPv4Network("10.244.1.3/32"))'
COMMAND = "timeout 3 tcpdump -i eth0 -nn -c 1 dst host 203.0.113.9"


def way(at: At, source: str) -> str:
    """Ask the kernel which way it sends what comes from a pod."""
    return at.sh("node1", f"ip route get 203.0.113.9 from {source} iif cni0").split(" dev ")[0]


def test_two_pods_of_a_node_leave_by_different_ways(vxlan: At, tmp_path: Path) -> None:
    """A rule by source sends one pod's packets to a table of its own; the other pod takes the default route."""
    deploy = tmp_path / "policy.py"
    deploy.write_text(RULES.format(route="by_node2", rule=RULE))
    vxlan.sh("node1", "ip rule add from 172.16.0.0/12 priority 900 table 77")
    assert vxlan.apply(str(deploy), "--limit", "node1").code == 0
    assert way(vxlan, "10.244.1.2").endswith("via 192.168.56.1")
    assert way(vxlan, "10.244.1.3").endswith("via 192.168.56.12")
    vxlan.sh("node2", f"({COMMAND} >/run/seen 2>&1) & until grep -q listening /run/seen; do :; done")
    for pod in ("pod1", "pod2"):
        vxlan.try_sh("node1", f"ip netns exec podnet-{pod} ping -n -c 1 -W 0.2 203.0.113.9")
    seen = vxlan.sh("node2", "while pgrep -x tcpdump >/dev/null; do sleep 0.1; done; cat /run/seen")
    assert seen.count("203.0.113.9: ICMP echo request") == 1
    assert vxlan.apply(str(deploy), "--limit", "node1").changed == set()
    assert vxlan.apply().changed == set()
    deploy.write_text(RULES.format(route="by_node2", rule=RULE.replace("1.3/32", "1.2/32")))
    assert vxlan.apply(str(deploy), "--limit", "node1").changed == {"node1"}
    assert way(vxlan, "10.244.1.2").endswith("via 192.168.56.12")
    assert way(vxlan, "10.244.1.3").endswith("via 192.168.56.1")
    deploy.write_text(RULES.format(route="", rule=""))
    assert vxlan.apply(str(deploy), "--limit", "node1").changed == {"node1"}
    assert "900:" in vxlan.sh("node1", "ip rule")
    assert "lookup 100" not in vxlan.sh("node1", "ip rule")
    assert vxlan.sh("node1", "ip route show table all | grep 'table 100' || test $? = 1") == ""
