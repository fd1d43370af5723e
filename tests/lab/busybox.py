"""A container with busybox and nothing else, whose image needs no registry; and what pods are asked to do with it."""

import re
from collections.abc import Collection

from tests.lab.at import At

IMPORT = "tar -c -C / bin/busybox | podman import -q - busybox"
RUN = (
    "podman run -d --name web --network podnet -p 8080:80 --cap-add NET_RAW -v /etc/hostname:/index.html:ro "
    "busybox busybox httpd -f -h /"
)
"""It serves the name of its node."""
ADDRESS = "podman inspect -f '{{.NetworkSettings.Networks.podnet.IPAddress}}' web"


def fetched(at: At, host: str, shell: str, url: str) -> str:
    """Fetch a page, by what runs a command of busybox's in a pod; nothing if it does not come."""
    return at.try_sh(host, f"timeout 5 {shell} wget -q -O - {url}").out.strip()


def pinged(at: At, host: str, shell: str, to: Collection[str]) -> dict[str, int]:
    """Ping each of the addresses, and return the TTL of its reply; 0 if there is none."""
    pings = "; ".join(f"ping -c 1 -W 2 {address}" for address in to)
    said = dict(re.findall(r"bytes from (\S+): seq=0 ttl=(\d+)", at.sh(host, f"{shell} sh -c '{pings}; :'")))
    return {address: int(said.get(address, 0)) for address in to}
