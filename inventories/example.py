"""Three real machines: copy this file, and write down yours.

    cp inventories/example.py inventories/mine.py
    pyinfra -y inventories/mine.py deploys/vxlan.py
    pytest --hosts=node1,node2,node3 --inventory=inventories/mine.py

README.md has the table of all data that podnet reads; the names that begin with ssh_ are pyinfra's.
"""

from podnet.ssh import nodelay_transport

nodes = (
    [
        (
            "node1",
            {
                "ssh_hostname": "192.0.2.11",  # not needed where ssh knows a host by its name
                "address": "192.0.2.11/24",  # where peers send to, as `ip addr show dev eth0` has it
                "uplink": "eth0",
                "pod_subnet": "10.244.1.0/24",  # 10.244.1.1 is its gateway
                "pods": 2,  # pod1 10.244.1.2, pod2 10.244.1.3
                "nics": {"pod1": "0000:01:10.0", "pod2": {"nic": "eth3", "vlan": 100}},  # of the mode sriov alone
            },
        ),
        (
            "node2",
            {
                "ssh_hostname": "192.0.2.12",
                "address": "192.0.2.12/24",
                "uplink": "eth0",
                "pod_subnet": "10.244.2.0/24",
                "pods": ["web", "db"],  # web 10.244.2.2, db 10.244.2.3
            },
        ),
        (
            "node3",
            {
                "ssh_hostname": "198.51.100.13",  # behind a router: VXLAN does not mind
                "address": "198.51.100.13/24",
                "uplink": "enp1s0",
                "pod_subnet": "10.244.3.0/24",
                "pods": {"web": "10.244.3.10", "db": "10.244.3.20"},
            },
        ),
    ],
    {
        "ssh_user": "admin",
        "_sudo": True,  # admin may sudo without a password; leave it out for root
        "ssh_strict_host_key_checking": "yes",  # the hosts' keys stand in ~/.ssh/known_hosts
        "ssh_paramiko_connect_kwargs": {"transport_factory": nodelay_transport},
        "network": "10.244.0.0/16",  # all pod_subnets lie in it
        "underlay_mtu": 1500,  # with vxlan pods get 50 less
        "vni": 1,
        "vxlan_port": 8472,
        "udp_port": 8285,  # of the mode udp alone
        "wireguard_port": 51820,
        "wireguard_keepalive": 0,  # seconds; 25, say, where a firewall between nodes forgets who has talked
        "masquerade": True,  # pods reach the outside under their node's address
        "bridge_netfilter": True,  # packets that are only bridged meet iptables too
        "subnet_env": False,  # True: /run/flannel/subnet.env is this cluster's, although its vni is not 1
        "checksum_offload": True,  # False where pings pass and TCP hangs: a kernel or NIC that sums vxlan wrongly
    },
)
