#!/bin/sh
# Makes the samples beside this file anew, in namespaces that vanish with it: a host of podnet's where a stranger
# lives as well (host/), and one that was just installed (fresh/). Needs root. Made with iproute2 6.1, Linux 6.18.
#     unshare --net --mount --propagation private sh tests/core/samples/make.sh
# iptables-save.txt is from iptables 1.8.9 (nf_tables), captured in a chroot of Debian 12.
set -eu
cd "$(dirname "$0")"
mount -t tmpfs none /run

read_all() {
    for command in 'ip -d -j link show' 'ip -j netns list' 'ip -j addr show' 'ip -4 -j neigh show' \
        'bridge -j fdb show' 'ip -d -j route show' 'ip -d -j route show table all' 'ip -d -j rule show'; do
        $command >"$1/$command.json"
    done
}

read_all fresh
ip link set lo up
ip link add eth0 address 52:54:00:00:00:0b type ifb
ip link set eth0 arp on up
ip addr add 192.168.56.11/24 dev eth0
ip route add default via 192.168.56.1 dev eth0

# the stranger's
ip link add br-strange address 02:aa:00:00:00:01 type bridge
ip link set br-strange up
ip link add sv0 address 02:aa:00:00:00:02 type veth peer name sv1 address 02:aa:00:00:00:03
ip link set sv0 master br-strange up
ip link set sv1 up
ip link add vx-ext address 02:aa:00:00:00:06 type vxlan external dstport 4790
ip link add vx-remote address 02:aa:00:00:00:04 type vxlan id 7 remote 192.168.56.99 dstport 4789 dev eth0
ip link set vx-remote up
ip netns add strange
ip addr add 172.30.0.1/24 dev br-strange
ip -6 addr add fd00::1/64 dev br-strange nodad
ip route add 10.99.0.0/24 nexthop via 192.168.56.2 dev eth0 nexthop via 192.168.56.3 dev eth0
ip route add blackhole 10.98.0.0/24
ip route add unreachable 10.97.0.0/24 metric 50
ip route add 10.96.0.0/24 via 192.168.56.4 dev eth0 metric 700 proto static
ip route add 10.95.0.1 dev eth0 scope link
ip rule add priority 500 fwmark 0x1 tos 0x10 prohibit
ip neigh add 192.168.56.9 lladdr 02:bb:00:00:00:09 dev eth0 nud permanent
ip neigh add 192.168.56.8 lladdr 02:bb:00:00:00:08 dev eth0 nud stale
ip neigh add 192.168.56.7 dev eth0 nud failed

# ours
ip link add cni0 address 0a:58:0a:f4:01:01 mtu 1450 type bridge
ip link set cni0 alias podnet up
ip link add flannel.1 address 66:00:00:00:00:01 mtu 1450 \
    type vxlan id 1 dev eth0 local 192.168.56.11 dstport 8472 nolearning
ip link set flannel.1 alias podnet up
ip netns add podnet-pod1
ip link add veth12345678 address 02:58:00:00:00:01 mtu 1450 type veth peer name eth0 mtu 1450 netns podnet-pod1
ip link set veth12345678 alias podnet master cni0 up
ip link set veth12345678 type bridge_slave hairpin on
ip addr add 10.244.1.1/24 dev cni0
ip addr add 10.244.1.0/32 dev flannel.1
ip neigh replace 10.244.2.0 lladdr 66:00:00:00:00:02 dev flannel.1 nud permanent
bridge fdb replace 66:00:00:00:00:02 dev flannel.1 dst 192.168.56.12
bridge fdb replace 66:00:00:00:00:03 dev flannel.1 dst 192.168.56.13 port 4790 vni 9 via eth0
ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 77
ip route replace 0.0.0.0/0 via 192.168.56.254 dev eth0 table 100 proto 77
ip rule add priority 1000 from 10.244.1.2/32 to 10.0.0.0/8 iif cni0 fwmark 0x1/0xff table 100 protocol 77
ip -n podnet-pod1 link set lo up
ip -n podnet-pod1 link set eth0 address 0a:58:0a:f4:01:02 mtu 1450 up
ip -n podnet-pod1 addr add 10.244.1.2/24 dev eth0
ip -n podnet-pod1 route replace default via 10.244.1.1 dev eth0 proto 77
ip -n podnet-pod1 route replace 10.244.0.0/16 via 10.244.1.1 dev eth0 proto 77
# of another cluster on the same host: a pod on the uplink's wire, and two pods at the ends of one cable
ip netns add podnet7-mac
ip link add eth0 netns podnet7-mac link eth0 address 0a:58:0a:f5:01:02 mtu 1500 type macvlan mode bridge
ip -n podnet7-mac link set eth0 alias podnet7 up
ip -n podnet7-mac addr add 10.245.1.2/16 dev eth0
ip netns add podnet7-one
ip netns add podnet7-two
ip link add eth0 netns podnet7-one address 0a:58:0a:f5:01:03 mtu 1500 type veth peer name eth0 mtu 1500 netns podnet7-two
ip -n podnet7-one link set eth0 alias podnet7 up
ip -n podnet7-two link set eth0 address 0a:58:0a:f5:01:04 mtu 1500 up
: >/run/netns/podnet-stale  # a name whose file is no namespace
sleep 1  # until neighbours and duplicate addresses are settled

read_all host
if ip -j fou show >host/fous.json; then :; else rm host/fous.json; fi  # only where the kernel has the module
cd ../../..
ask() { python3 -c "from podnet.facts import pods, sysctls; print($1)" | sh; }
samples=tests/core/samples/host
ask 'pods.script(["net/ipv4/ip_forward"])' >$samples/pods.txt
ask 'sysctls.script(["net/ipv4/ip_forward", "net/ipv4/conf/*/forwarding", "no/such"])' >$samples/sysctls.txt
