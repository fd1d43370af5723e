"""The cluster that most tests speak about: three hosts on one segment, two pods each."""

from podnet.cluster import Cluster
from podnet.inventory import read

GROUP: dict[str, object] = {
    "network": "10.244.0.0/16",
    "underlay_mtu": 1500,
    "vni": 1,
    "vxlan_port": 8472,
    "udp_port": 8285,
    "wireguard_port": 51820,
    "wireguard_keepalive": 0,
    "masquerade": True,
    "bridge_netfilter": True,
    "checksum_offload": True,
}


def vf(number: int) -> str:
    """Say where a virtual function sits: each PCI device has eight functions, of which igb's VFs take every other."""
    bus, rest = divmod(number, 64)
    return f"0000:{bus + 1:02x}:{0x10 + rest // 4:02x}.{rest % 4 * 2}"


def nics(pods: object, vni: object) -> dict[str, object]:
    """Give each pod a virtual function of its own."""
    names = [f"pod{i}" for i in range(1, pods + 1)] if isinstance(pods, int) else pods
    first = 0 if vni == 1 else 4
    return {str(name): vf(number) for number, name in enumerate(names, first)} if isinstance(names, list) else {}


def hosts(count: int = 3, pods: object = 2, **group: object) -> dict[str, dict[str, object]]:
    """Write down `count` hosts as an inventory does; `group` replaces group data."""
    return {
        f"node{i}": {
            "address": f"192.168.56.{10 + i}/24",
            "uplink": "eth0",
            "pod_subnet": f"10.244.{i}.0/24",
            "pods": pods,
            "nics": nics(pods, group.get("vni", 1)),
            **GROUP,
            **group,
        }
        for i in range(1, count + 1)
    }


def cluster(count: int = 3, pods: object = 2, **group: object) -> Cluster:
    """Read `hosts` into a cluster."""
    return read(hosts(count, pods, **group))
