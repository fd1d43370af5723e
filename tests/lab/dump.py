"""All that a host holds, to be compared before and after.

What a run may leave otherwise is left out:

- Neighbours that somebody answered for, or did not, or that need no answer (NOARP), come by themselves wherever a
  packet goes, and go by themselves: only permanent ones are compared. So it is with what a bridge learns of MACs.
- Connections that are tracked (conntrack), counters, timers, and what the kernel remembers of a path's MTU are no
  tables that anybody writes; commands that show none of them are used, or these keys are dropped.
- The journal grows with every login, by ssh; and the processes of this very look are not compared.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests.lab.at import At

SECTION, END = "==section==", "==end=="

IN_JSON = {
    "link": "ip -d -j link show",
    "address": "ip -d -j addr show",
    "route": "ip -d -j route show table all",
    "route (IPv6)": "ip -6 -d -j route show table all",
    "rule": "ip -d -j rule show",
    "neighbour": "ip -d -j neigh show nud all",
    "proxied neighbour": "ip -j neigh show proxy",
    "FDB": "bridge -d -j fdb show",
    "VLAN": "bridge -j vlan show",
    "multicast": "bridge -j mdb show",
    "qdisc": "tc -j qdisc show",
}
IN_TEXT = {
    "nft": "nft -s list ruleset",  # -s: without what counters have counted
    "iptables": "iptables-save; ip6tables-save",
    "sysctl": (
        # These two cannot be read; the third counts connections.
        "find /proc/sys/net -type f ! -name stable_secret ! -name flush ! -name nf_conntrack_count"
        " -exec grep -H '' {} +"
    ),
}
FIND = (
    "find /etc /run /root /home /tmp /var /usr/local -xdev '(' -path /run/log/journal -o -path /run/netns ')' -prune -o"
)
OF_HOST = {
    "namespace": "ip netns list | sed 's/ .*//'",
    "file": (f"{FIND} -type f -exec sha256sum {{}} + -exec stat -c '%n %a %U %s' {{}} +"),
    "folder": (f"{FIND} ! -type f -printf '%p %y %m %u %l\\n'"),
    "process": "ps -eo args",
}
VOLATILE = re.compile(r".*_timer|expires|used|confirmed|updated|probes|refcnt|cache")
"""Keys of what iproute2 tells in JSON that change by themselves."""
OF_LOOK = re.compile(r"ps -eo|sh -euc|sshd: (root|admin|\[|unknown)")
"""This very look, and ssh's connections: of pytest's own one is open while it runs, and ends a moment after it."""


Dump: TypeAlias = dict[str, set[str]]


def dump(at: At, host: str) -> Dump:
    """Return what a host holds: for each section, lines that can be compared."""
    done = at.try_sh(host, _script())
    assert done.code == 0, f"{host}: the dump failed: {done.err}"
    lines = iter(done.out.splitlines())
    found: Dump = {}
    section = ""
    whole = False
    for line in lines:
        if line.startswith(SECTION):
            section = line.removeprefix(SECTION).strip()
            found[section] = set()
        elif line == END:
            whole = True
        else:
            found[section].update(_told(section, line))
    assert whole, f"{host}: the dump was cut short"
    return found


def unlike(before: Dump, after: Dump) -> list[str]:
    """Say in what two dumps of one host are not the same."""
    return [
        f"{section}: {sign} {line}"
        for section in sorted(before.keys() | after.keys())
        for sign, here, there in (("-", before, after), ("+", after, before))
        for line in sorted(here.get(section, set()) - there.get(section, set()))
    ]


def _script() -> str:
    tables = {**IN_JSON, **IN_TEXT}
    inside = "\n".join(f"echo '{SECTION}' $1 '{name}'; {command}" for name, command in tables.items())
    on_host = "\n".join(f"echo '{SECTION}' '{name}'; {command}" for name, command in OF_HOST.items())
    return f"""
set -- host
{inside}
known=" $(stat -L -c %i /proc/self/ns/net) "
for path in /run/netns/* $(lsns --type net --noheadings --output PID | sed 's, *,/proc/,; s,$,/ns/net,'); do
  if [ ! -e "$path" ]; then continue; fi
  space=$(stat -L -c %i "$path")
  case $known in *" $space "*) continue ;; esac
  known="$known$space "
  nsenter --net="$path" sh -euc {shlex.quote(inside)} sh "$path"
done
{on_host}
echo '{END}'
"""


def _told(section: str, line: str) -> Iterator[str]:
    if line.startswith("[") and section.split(" ", 1)[-1] in IN_JSON:
        yield from (json.dumps(_plain(entry), sort_keys=True) for entry in json.loads(line) if _settled(section, entry))
    elif section == "process":
        yield from [line] if not OF_LOOK.match(line) else []
    elif not line.startswith("#"):
        yield re.sub(r"\[\d+:\d+\]", "", line)


def _settled(section: str, entry: dict[str, Any]) -> bool:
    """Leave out what is learned: of neighbours by state, of an FDB by what it calls permanent or static."""
    if section.endswith(" neighbour"):
        return bool(entry["state"] == ["PERMANENT"])
    if section.endswith(" FDB"):
        return entry["state"] != "" or "dst" in entry
    return True


def _plain(entry: Any) -> Any:
    match entry:
        case dict():
            return {key: _plain(value) for key, value in entry.items() if not VOLATILE.fullmatch(key)}
        case list():
            return [_plain(value) for value in entry]
        case _:
            return entry
