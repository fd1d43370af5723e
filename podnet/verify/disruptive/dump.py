"""A host written down line by line, whoever's what is: two dumps are equal if nothing is left and nothing is gone.

Left out is what the kernel counts up or finds out by itself: indices, numbers of ports, timers, neighbours that it has
learned, lifetimes of leases, counters of rules; chains that let everything pass, which iptables makes by the way and
never removes; settings as br_netfilter is born with them, since modules stay; the note of former settings, which names
a device that came with a module from the second time on; the note of what a NIC was, which names a VF's MAC that its PF
has learned meanwhile; and WireGuard's public keys, since a mode that is left takes its private key along.
"""

from collections.abc import Iterator, Mapping
from difflib import unified_diff

SCRIPT = r"""set -eu
alike() {
  sed -E 's/^[0-9]+: //; s/@[a-zA-Z0-9_.-]+//; s/ link-netn?s?(id)? ?[^ ]+//; s/ bridge_id.*//; s/ state [A-Z]+//' |
    sed -E 's/_timer +[0-9.]+//g; s/ (valid|preferred)_lft [^ ]+//g; s/ expires [^ ]+//' |
    sed -E 's/ (port_id|port_no|designated_port) [^ ]+//g' |
    sed -E 's/ linkdown//; s/ permaddr [^ ]+//; s/(alias podnet[0-9]*) name .*/\1/; s/ +$//'
}
none() { test $? = 1; }  # grep's way to say that there is nothing
through() {  # FILTER COMMAND...: of a pipe sh would only hear how its last command has ended
  filter=$1
  shift
  said=$("$@")
  if [ "$said" ]; then printf '%s\n' "$said" | $filter; fi
}
placed() {  # says of each rule in which table and chain it is, and where: chains come in any order
  table='' chain='' at=100
  while IFS= read -r line; do
    case $line in
      table*|\**) table=$line chain='' at=100 ;;
      *\{) chain=$line at=100 ;;
      *) at=$((at + 1)); printf '%s\n' "$table $chain $at $line" ;;
    esac
  done | sort
}
entries() { sort | { grep -E ' dst | self permanent' || none; }; }
settings() {
  sed -E '\%/(stable_secret|flush):|/net/bridge/.*:0$|/net/bridge/bridge-nf-call-(arp|ip6)tables:1$%d' | sort
}
saved() { sed -E '/^(#|COMMIT)/d; s/ \[[0-9:]*\]$//; /^:.* ACCEPT$/d' | placed; }
listed() {
  sed -E 's/ packets [0-9]+ bytes [0-9]+//; /^[[:space:]]*\}?$/d; /hook .* policy accept;$/d' | placed
}
allowed() { sed 's/\t[^\t]*\t/ /' | sort; }
names() { sed 's/ .*//' | sort; }
values() { "$@" || test $? = 2; }  # grep's way to say that a file may only be written, or is not there
for dev in $(cd /sys/class/net; ls); do
  if [ ! -d "/sys/class/net/$dev" ]; then continue; fi
  if said=$(ip -d link show "$dev"); then
    printf '%s\n' "$said" | alike
  elif [ -d "/sys/class/net/$dev" ]; then  # it has not just gone
    exit 1
  fi
done
through alike ip -o -4 addr show
through alike ip -4 route show table all
ip -4 rule show
through sort ip -4 neigh show nud permanent
through entries bridge fdb show
through settings values grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf \
  /proc/sys/net/bridge
spaces=$(through names ip netns list)
for netns in $spaces; do
  echo "namespace $netns"
  through alike ip -n "$netns" -d link show
  through alike ip -n "$netns" -o -4 addr show
  through alike ip -n "$netns" -4 route show table all
  through sort ip -n "$netns" -4 neigh show nud permanent
  through sort values ip netns exec "$netns" grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward
done
for tool in iptables-save ip6tables-save; do
  if command -v $tool >/dev/null; then through saved $tool; fi
done
if command -v nft >/dev/null; then through listed nft list ruleset; fi
if command -v wg >/dev/null; then through allowed wg show all allowed-ips; fi
for folder in podnet systemd/system systemd/network modules-load.d sysctl.d NetworkManager/conf.d; do
  if [ ! -d /etc/$folder ]; then continue; fi
  through sort find /etc/$folder \( -name '*.key' -o -type l \)
  files=$(through sort find /etc/$folder -type f ! -name '*.key' ! -path /etc/podnet/sysctls)
  for file in $files; do
    said=$(sed -E 's#[A-Za-z0-9+/]{43}=#KEY#g' "$file" && echo .)  # else sh would take away what ends its lines
    echo "$file $(printf '%s' "${said%.}" | sha256sum)"
  done
done
ls /run/netns 2>/dev/null || test $? = 2
"""


def compared(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Say host by host and line by line what is left and what is gone."""
    for name, lines in before.items():
        for line in unified_diff(lines.splitlines(), after[name].splitlines(), n=0, lineterm=""):
            if not line.startswith(("---", "+++", "@@")):
                yield f"{name}: {'left' if line.startswith('+') else 'gone'}: {line[1:]}"
