"""A pod of podnet's is, but for what the docs list, what the reference plugins make: kernel tables side by side."""

import importlib
import json
import re
from pathlib import Path

import pytest

from podnet import inventory, modes
from podnet.marks import CONFLIST
from podnet.state import File
from tests.lab.at import At, until
from tests.lab.equivalence import DELIBERATE, PLUGIN, RANDOM, SCRIPT, compare, read

SHAPE = ("--hosts", "2")
HOST = {"address": "192.168.56.11/24", "uplink": "eth0", "pod_subnet": "10.244.1.0/24", "network": "10.244.0.0/16"}
ALIKE = (
    ("192.168.56.12", "192.168.56.11"),
    ("02:55:c0:a8:38:0c", "02:55:c0:a8:38:0b"),
    ("fe80::55:c0ff:fea8:380c", "fe80::55:c0ff:fea8:380b"),
)
"""What the two hosts cannot have in common: the second one's is told as the first one's."""
MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def tables(at: At, host: str, netns: str) -> str:
    """Return what the kernel says once it has looked whether somebody else has the link-local addresses."""
    look = f"{{ ip addr; ip -n {netns} addr; }} | grep -c tentative || test $? = 1"
    until(lambda: at.sh(host, look).strip() == "0", 10, "no address is tentative")
    return at.sh(host, f"set {netns}{SCRIPT}")


def alone(at: At, folder: Path) -> Path:
    """Write an inventory of the first host alone, with one pod."""
    own = folder / "own.py"
    own.write_text(
        f"import runpy\n_hosts, _data = runpy.run_path({str(at.inventory)!r})['nodes']\n"
        "_hosts[0][1]['pods'] = ['web']\nnodes = (_hosts[:1], _data)\n"
    )
    return own


def by_podnet(at: At, mode: str, folder: Path) -> str:
    """Have podnet make a pod on the first host, alone; return what its kernel says."""
    own = alone(at, folder)
    at.into(mode, inventory=own)
    said = tables(at, "node1", "podnet-web")
    at.into("teardown", inventory=own)
    return said


def by_plugins(at: At, mode: str) -> str:
    """Have the plugins of the mode's list add the same pod on the second host, which has seen nothing of podnet."""
    cluster = inventory.read({"node1": HOST})
    want = modes.wanted(importlib.import_module(f"podnet.modes.{mode}"), cluster, cluster.node("node1"))
    path = CONFLIST.format(alias="podnet")
    (text,) = (file.text for file in want.files if isinstance(file, File) and file.path == path)
    listed = json.loads(text)
    plugin = listed["plugins"][0]
    assert plugin["type"] == PLUGIN[mode]
    conf = json.dumps({"cniVersion": listed["cniVersion"], "name": listed["name"], **plugin})
    call = "CNI_CONTAINERID=web CNI_NETNS=/run/netns/web CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni"
    call = f"{call} /usr/lib/cni/{plugin['type']} <<'CONF'\n{conf}\nCONF\n"
    at.sh("node2", f"ip netns add web; ip -n web link set lo up; CNI_COMMAND=ADD {call}")
    said = tables(at, "node2", "web")
    at.sh("node2", f"CNI_COMMAND=DEL {call}ip netns del web; if [ -e /sys/class/net/cni0 ]; then ip link del cni0; fi")
    at.sh("node2", "rm -r /var/lib/cni/networks/podnet; sysctl -q -w net.ipv4.ip_forward=0")
    for theirs, ours in ALIKE:
        said = said.replace(theirs, ours)
    return said


@pytest.mark.parametrize("mode", DELIBERATE)
def test_a_pod_is_what_the_reference_plugins_make_but_for_what_the_docs_list(at: At, mode: str, tmp_path: Path) -> None:
    """Links, addresses, routes, rules, neighbours, settings; no difference is unexplained, and no explanation idle."""
    ours, theirs = read(by_podnet(at, mode, tmp_path)), read(by_plugins(at, mode))
    assert min(len(ours), len(theirs)) > 500  # the settings of six devices among them
    found = {
        what: (podnet, RANDOM if what.endswith(" address") and MAC.fullmatch(plugins) else plugins)
        for what, (podnet, plugins) in compare(ours, theirs).items()
    }
    listed = {each.what: (each.podnet, each.plugins) for each in DELIBERATE[mode]}
    assert {what: pair for what, pair in found.items() if listed.get(what) != pair} == {}
    assert listed.keys() - found.keys() == set()


BESIDES = {
    "pod link eth0 mtu": "ip -n podnet-web link set eth0 mtu 1400",
    "pod addr lo 10.9.9.9": "ip -n podnet-web addr add 10.9.9.9/32 dev lo",
    "pod route main unicast 10.9.0.0/16 eth0": "ip -n podnet-web route add 10.9.0.0/16 via 10.244.1.1",
    "pod neigh 10.244.1.77 eth0": "ip -n podnet-web neigh add 10.244.1.77 lladdr 02:00:00:00:00:07 dev eth0",
    "pod rule 77": "ip -n podnet-web rule add from 10.244.1.2 lookup main priority 77",
    "pod sysctl ipv4/conf/eth0/rp_filter": "ip netns exec podnet-web sysctl -q -w net.ipv4.conf.eth0.rp_filter=1",
    "pod sysctl ipv4/neigh/eth0/retrans_time_ms": (
        "ip netns exec podnet-web sysctl -q -w net.ipv4.neigh.eth0.retrans_time_ms=500"
    ),
    "host link cable linkinfo.info_slave_data.hairpin": "bridge link set dev $cable hairpin off",
    "host link cable linkinfo.info_slave_data.learning": "bridge link set dev $cable learning off",
    "host link cable linkinfo.info_slave_data.isolated": "bridge link set dev $cable isolated on",
    "host link cni0 linkinfo.info_data.ageing_time": "ip link set cni0 type bridge ageing_time 1000",
    "host fdb 02:00:00:00:00:08 cable cni0": "bridge fdb add 02:00:00:00:00:08 dev $cable master static",
    "host proxy 10.244.1.99 cni0": "ip neigh add proxy 10.244.1.99 dev cni0",
    "host sysctl ipv4/conf/cni0/send_redirects": "sysctl -q -w net.ipv4.conf.cni0.send_redirects=0",
}
"""What might differ as well, of every kind, and what makes it so."""


def test_a_difference_that_no_list_explains_would_be_found(at: At, tmp_path: Path) -> None:
    """Each by itself, under its own name: what is not compared would be equal for ever."""
    own = alone(at, tmp_path)
    at.into("bridge", inventory=own)
    before = read(tables(at, "node1", "podnet-web"))
    cable = at.sh("node1", "ls /sys/class/net/cni0/brif").strip()
    at.sh("node1", f"cable={cable}\n" + "\n".join(BESIDES.values()))
    found = compare(before, read(tables(at, "node1", "podnet-web")))
    at.sh("node1", "sysctl -q -w net.ipv4.conf.cni0.send_redirects=1")
    at.into("teardown", inventory=own)
    assert BESIDES.keys() - found.keys() == set()
    assert not found.keys() & {each.what for each in DELIBERATE["bridge"]}
