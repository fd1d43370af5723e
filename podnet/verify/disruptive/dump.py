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
tables() {
  for dev in $(cd /sys/class/net; ls); do if [ -d "/sys/class/net/$dev" ]; then ip -d link show "$dev" | alike; fi; done
  ip -o -4 addr show | alike
  ip -4 route show table all | alike
  ip -4 rule show
  ip -4 neigh show nud permanent | sort
  bridge fdb show | sort | grep -E ' dst | self permanent' || none
  grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf /proc/sys/net/bridge |
    grep -vE '/(stable_secret|flush):|/net/bridge/.*:0$|/net/bridge/bridge-nf-call-(arp|ip6)tables:1$' | sort
}
tables
for netns in $(ip netns list | sed 's/ .*//' | sort); do
  echo "namespace $netns"
  ip -n "$netns" -d link show | alike
  ip -n "$netns" -o -4 addr show | alike
  ip -n "$netns" -4 route show table all | alike
  ip -n "$netns" -4 neigh show nud permanent | sort
  ip netns exec "$netns" grep -rsH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward | sort
done
for tool in iptables-save ip6tables-save; do
  if command -v $tool >/dev/null; then
    $tool | sed -E '/^(#|COMMIT)/d; s/ \[[0-9:]*\]$//; /^:.* ACCEPT$/d' | placed
  fi
done
if command -v nft >/dev/null; then
  nft list ruleset |
    sed -E 's/ packets [0-9]+ bytes [0-9]+//; /^[[:space:]]*\}?$/d; /hook .* policy accept;$/d' | placed
fi
if command -v wg >/dev/null; then wg show all allowed-ips | sed 's/\t[^\t]*\t/ /' | sort; fi
for folder in podnet systemd/system systemd/network modules-load.d sysctl.d NetworkManager/conf.d; do
  if [ ! -d /etc/$folder ]; then continue; fi
  find /etc/$folder \( -name '*.key' -o -type l \) | sort
  for file in $(find /etc/$folder -type f ! -name '*.key' ! -path /etc/podnet/sysctls | sort); do
    echo "$file $(sed -E 's#[A-Za-z0-9+/]{43}=#KEY#g' "$file" | sha256sum)"
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
