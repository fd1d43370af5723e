# podnet's: written anew by every apply that finds it changed, removed by the teardown.
# Makes the network of this host's pods from nothing. Run by podnet.service at boot, and by hand at any time:
#     sh /etc/podnet/podnet.sh
# What is there already stays as it is, and what is missing is made.
set -eu

doing='waiting'
trap 'if [ $? != 0 ]; then echo "podnet: failed at: $doing" >&2; fi' EXIT
run() { doing=$*; echo "$doing"; "$@"; }

# Each says whether there is such a thing already.
device() { [ -e "/sys/class/net/$1" ]; }
inside() { ip netns exec "$1" test -e "/sys/class/net/$2"; }
fou() { ip fou show 2>&1 | grep -q "^port $1 "; }
rule() { "$1-save" -t "$2" | grep -qxF -e "$3"; }
opened() { ! said=$(nft list chain "$1" "$2" "$3" 2>&1) || echo "$said" | grep -q "comment \"$4\""; }
namespace() {
  # A name without a namespace is what a cut leaves; it is in the way.
  if [ -e "/run/netns/$1" ] && [ "$(stat -f -c %T "/run/netns/$1")" != nsfs ]; then rm "/run/netns/$1"; fi
  [ -e "/run/netns/$1" ]
}

# Wait until a command succeeds: for what, what to do if it never does, the command. The patience is one for all.
waited=0
await() {
  what=$1 instead=$2 told=
  shift 2
  until "$@"; do
    if [ ! "$told" ]; then told=1; echo "podnet: waiting for $what"; fi
    if [ $waited = 60 ]; then
      echo "podnet: still no $what after 60 s; $instead, or correct the inventory and apply again" >&2
      exit 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
}
addressed() { [ -e "/sys/class/net/$1" ] && ip -o -4 addr show up dev "$1" to "$2/32" | grep -q .; }
await 'eth0 that is up and has 192.168.56.11' 'give it that address' addressed eth0 192.168.56.11

# One at a time: an apply that finds this script running waits for its end.
exec 9</etc/podnet/podnet.sh
flock 9

run mkdir -p /var/lib/cni/networks/podnet
run sh -eu -s /var/lib/cni/networks/podnet <<'LINES'
cd "$1"
umask 077
exec 8>>lock
flock -w 60 8 || { echo "$1/lock has been held for 60 s; see by whom (fuser), and end that" >&2; exit 1; }
cr=$(printf '\r')
holder() { who=; if [ -e "$1" ]; then read -r who <"$1" || test $? = 1; fi; who=${who%"$cr"}; }
ours() { case $who in '' | podnet-*) ;; *) return 1 ;; esac; }
free() {
  holder "$1"
  ours || { echo "nothing was changed: $1, which $2 needs, was just given to container $who" >&2; exit 1; }
}
take() {
  if [ -e "$1" ]; then rm "$1"; elif [ -e last_reserved_ip.0 ]; then printf %s "$1" >last_reserved_ip.0; fi
  set -C; printf '%s\r\n%s' "$2" "$3" >"$1"; set +C
}
each() {
  "$1" 10.244.1.2 podnet-pod1 eth0
  "$1" 10.244.1.3 podnet-pod2 eth0
}
each free
each take
LINES
[ -d /proc/sys/net/bridge/ ] || run modprobe br_netfilter
namespace podnet-pod1 || run ip netns add podnet-pod1
namespace podnet-pod2 || run ip netns add podnet-pod2
device cni0 || run ip link add cni0 address 0a:58:0a:f4:01:01 type bridge
run ip -batch - <<'LINES'
link set cni0 mtu 1450 alias podnet up
LINES
device flannel.1 || run ip link add flannel.1 address 66:ca:12:f3:1b:8c mtu 1450 type vxlan id 1 dev eth0 local 192.168.56.11 dstport 8472 nolearning
run ip -batch - <<'LINES'
link set flannel.1 alias podnet up
LINES
device veth8c33bec5 || run ip link add veth8c33bec5 address 5a:8c:33:be:c5:55 mtu 1450 type veth peer name eth0 mtu 1450 netns podnet-pod2
run ip -batch - <<'LINES'
link set veth8c33bec5 alias podnet up
LINES
device vethfe3e9017 || run ip link add vethfe3e9017 address 5a:fe:3e:90:17:df mtu 1450 type veth peer name eth0 mtu 1450 netns podnet-pod1
run ip -batch - <<'LINES'
link set vethfe3e9017 alias podnet up
link set veth8c33bec5 master cni0
link set veth8c33bec5 type bridge_slave hairpin on
link set vethfe3e9017 master cni0
link set vethfe3e9017 type bridge_slave hairpin on
addr replace 10.244.1.1/24 dev cni0
addr replace 10.244.1.0/32 dev flannel.1
neigh replace 10.244.2.0 lladdr 66:15:b1:8a:72:43 dev flannel.1 nud permanent
neigh replace 10.244.3.0 lladdr 66:3b:5b:b1:c6:e7 dev flannel.1 nud permanent
LINES
run ip -n podnet-pod1 -batch - <<'LINES'
link set eth0 address 0a:58:0a:f4:01:02 mtu 1450 up
link set lo up
addr replace 10.244.1.2/24 dev eth0
addr replace 127.0.0.1/8 dev lo scope host
route replace 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 77
route replace 10.244.0.0/16 via 10.244.1.1 dev eth0 proto 77
LINES
run ip netns exec podnet-pod1 sysctl -q -p - <<'LINES'
net/ipv4/ip_forward = 0
LINES
run ip -n podnet-pod2 -batch - <<'LINES'
link set eth0 address 0a:58:0a:f4:01:03 mtu 1450 up
link set lo up
addr replace 10.244.1.3/24 dev eth0
addr replace 127.0.0.1/8 dev lo scope host
route replace 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 77
route replace 10.244.0.0/16 via 10.244.1.1 dev eth0 proto 77
LINES
run ip netns exec podnet-pod2 sysctl -q -p - <<'LINES'
net/ipv4/ip_forward = 0
LINES
run bridge -batch - <<'LINES'
fdb replace 66:15:b1:8a:72:43 dev flannel.1 dst 192.168.56.12
fdb replace 66:3b:5b:b1:c6:e7 dev flannel.1 dst 192.168.56.13
LINES
run sysctl -q -p - <<'LINES'
net/bridge/bridge-nf-call-iptables = 1
net/ipv4/conf/cni0/forwarding = 1
net/ipv4/conf/cni0/rp_filter = 2
net/ipv4/conf/eth0/forwarding = 1
net/ipv4/conf/flannel.1/forwarding = 1
net/ipv4/conf/flannel.1/rp_filter = 2
net/ipv4/ip_forward = 1
LINES
run iptables-restore -w 5 --noflush <<'LINES'
*filter
:PODNET-FWD - [0:0]
-A PODNET-FWD -s 10.244.0.0/16 -d 10.244.0.0/16 -j ACCEPT
-A PODNET-FWD -s 10.244.0.0/16 -o cni.+ -j DROP
-A PODNET-FWD -s 10.244.0.0/16 -o flannel.+ -j DROP
-A PODNET-FWD -s 10.244.0.0/16 -o vxlan.+ -j DROP
-A PODNET-FWD -s 10.244.0.0/16 -j ACCEPT
-A PODNET-FWD -d 10.244.0.0/16 -j ACCEPT
COMMIT
*nat
:PODNET-POSTRTG - [0:0]
-A PODNET-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A PODNET-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -j RETURN
-A PODNET-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN
-A PODNET-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN
-A PODNET-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A PODNET-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -j MASQUERADE --random-fully
COMMIT
LINES
rule iptables filter '-A FORWARD -j PODNET-FWD' || run iptables -w 5 -t filter -I FORWARD 1 -j PODNET-FWD
rule iptables nat '-A POSTROUTING -j PODNET-POSTRTG' || run iptables -w 5 -t nat -I POSTROUTING 1 -j PODNET-POSTRTG
run ip -batch - <<'LINES'
route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 77
route replace 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink proto 77
LINES
run install -D -m 644 /dev/stdin /run/flannel/subnet.env.new <<'LINES'
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
LINES
run install -D -m 644 /dev/stdin /etc/cni/net.d/10-podnet.conflist.new <<'LINES'
{
  "name": "podnet",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "mtu": 1450,
      "isDefaultGateway": true,
      "hairpinMode": true,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "10.244.1.0/24" }]],
        "routes": [{ "dst": "10.244.0.0/16", "gw": "10.244.1.1" }]
      }
    },
    {
      "type": "portmap",
      "capabilities": { "portMappings": true }
    }
  ]
}
LINES
run sync /run/flannel/subnet.env.new /etc/cni/net.d/10-podnet.conflist.new
run mv /run/flannel/subnet.env.new /run/flannel/subnet.env
run mv /etc/cni/net.d/10-podnet.conflist.new /etc/cni/net.d/10-podnet.conflist
run sync /etc /etc/cni/net.d /etc/podnet /run/flannel
run sysctl -e -q -p - <<'LINES'
net/ipv6/conf/cni0/accept_ra = 0
net/ipv6/conf/flannel.1/accept_ra = 0
LINES

echo 'podnet: all is there'
