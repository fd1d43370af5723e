"""This machine's own network namespace, as text."""

import subprocess

# Without -statistics none of these counts packets; conf holds what libvirt and podnet set where they work.
ASKED = (
    ("ip", "link"),
    ("ip", "-4", "addr"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("sysctl", "--all", "--pattern", r"^net\.ipv[46]\.(ip_forward|conf\.)"),
)


def state() -> str:
    """Return its devices, addresses, routes, rules and settings."""
    return "".join(subprocess.run(words, check=True, capture_output=True, text=True).stdout for words in ASKED)


def processes() -> set[str]:
    """Name the programs that run on this machine."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,args="], check=True, capture_output=True, text=True).stdout
    return set(listed.splitlines())
