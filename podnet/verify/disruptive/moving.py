"""How a host's uplink gets another MAC or another address, and gets back its own: shell scripts, each to run whole."""

import secrets
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

TRIED = 8
"""Addresses to look for somebody at; the upper end of a segment is rarely given out."""
ENDS_WITHIN = 100
"""Times 0.1 s that the way back waits for the way there, which goes on where nobody waits for its answer."""


def new_folder() -> str:
    """Name a folder on a host that nobody else has: known even if the host's answer is lost."""
    return f"/tmp/podnet-{secrets.token_hex(8)}"  # noqa: S108  # it is made there, or it is an error


def mac_script(dev: str, mac: str) -> str:
    """Spell: give the device this MAC unless it has it; while it is up, so that it keeps its addresses and routes."""
    return (
        f'set -eu; if [ "$(cat /sys/class/net/{dev}/address)" != {mac} ]; then ip link set dev {dev} address {mac}; fi'
    )


def other_mac(mac: str) -> str:
    """Make up a MAC that no factory gives out: bit 2 of the first octet says so."""
    first, *rest, last = bytes.fromhex(mac.replace(":", ""))
    return bytes([(first | 2) & ~1 & 0xFF, *rest, last ^ 0x80]).hex(":")


def candidates(segment: IPv4Network, taken: Iterable[IPv4Address]) -> list[IPv4Address]:
    """Choose addresses at the upper end of a segment that no member has."""
    members = set(taken)
    last = segment.num_addresses - 2
    found = (segment[i] for i in range(last, max(0, last - TRIED - len(members)), -1))
    return [address for address in found if address not in members][:TRIED]


def free_script(dev: str, addresses: Iterable[IPv4Address]) -> str:
    """Spell: print the first of the addresses that nobody on the segment answers for, or nothing.

    Somebody who does not answer pings still answers ARP.
    """
    words = " ".join(map(str, addresses))
    return f"""set -eu
for address in {words}; do ping -n -c 1 -w 1 -I {dev} $address >/dev/null 2>&1 & done
wait
for address in {words}; do
  if ip -4 -o addr show to $address | grep -q .; then continue; fi
  if ip -4 neigh show to $address dev {dev} | grep -q lladdr; then continue; fi
  echo $address
  exit
done
"""


FUNCTIONS = r"""
none() { test $? = 1; }  # grep's way to say that there is nothing
routes() {
  ip -4 -o route show table all | sed -E 's/ linkdown//; s/ expires [^ ]+//; s/\\//g' | grep -v 'proto kernel' || none
}
again() {  # makes the routes that went with an address again, those on a link first: a gateway must be reachable
  routes >"$folder/now"
  sed "$1" "$folder/routes" | grep -vxF -f "$folder/now" >"$folder/gone" || none
  { grep -v ' via ' "$folder/gone" || none; grep ' via ' "$folder/gone" || none; } | while read -r line; do
    ip -4 route replace $line || exit 1
  done
}
"""


def move_script(dev: str, old: IPv4Interface, new: IPv4Interface, folder: str) -> str:
    """Spell: give the host a new address, from which it then speaks, beside the old; the folder knows the way back.

    We would like to add an address only; the kernel goes on speaking from the one that was first. Hence the old one
    is removed and comes again behind the new; and since the kernel takes an address's routes along, they are made
    again. Where one step fails, all are taken back. ssh by the old address only sees a packet come late.
    """
    return f"""set -eu
{FUNCTIONS}
folder={folder}
mkdir -m 700 "$folder"
ip -4 addr save dev {dev} >"$folder/addresses"
routes >"$folder/routes"
back() {{
  ip addr del {new} dev {dev} 2>/dev/null || test $? = 2
  ip -4 addr restore <"$folder/addresses"
  again ''
  rm -r "$folder"
}}
trap 'if [ $? != 0 ]; then back; fi' EXIT
trap 'exit 1' HUP INT TERM
ip addr del {old} dev {dev}
ip addr add {new} dev {dev}
ip -4 addr restore <"$folder/addresses"
again 's/ src {old.ip} / src {new.ip} /'
touch "$folder/moved"
"""


def back_script(dev: str, new: IPv4Interface, folder: str) -> str:
    """Spell: take the new address away; the old one and its routes are as they were. Nothing if nothing was moved."""
    return f"""set -eu
{FUNCTIONS}
folder={folder}
tries=0
until [ ! -e "$folder" ] || [ -e "$folder/moved" ] || [ $tries = {ENDS_WITHIN} ]; do
  tries=$((tries + 1))
  sleep 0.1
done
if [ ! -e "$folder" ]; then exit; fi
if [ ! -e "$folder/moved" ]; then echo "the move has not come to its end: $folder knows what was there" >&2; exit 1; fi
ip addr del {new} dev {dev}
ip -4 addr restore <"$folder/addresses"
again ''
rm -r "$folder"
"""
