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
    "masquerade": True,
    "bridge_netfilter": True,
    "checksum_offload": True,
}


def hosts(count: int = 3, pods: object = 2, **group: object) -> dict[str, dict[str, object]]:
    """Write down `count` hosts as an inventory does; `group` replaces group data."""
    return {
        f"node{i}": {
            "address": f"192.168.56.{10 + i}/24",
            "uplink": "eth0",
            "pod_subnet": f"10.244.{i}.0/24",
            "pods": pods,
            **GROUP,
            **group,
        }
        for i in range(1, count + 1)
    }


def cluster(count: int = 3, pods: object = 2, **group: object) -> Cluster:
    """Read `hosts` into a cluster."""
    return read(hosts(count, pods, **group))
