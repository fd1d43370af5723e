"""What a run must leave as it is: the network namespace of this machine itself, as text."""

import subprocess

ASKED = (
    ("ip", "-brief", "link"),
    ("ip", "-brief", "addr"),
    ("ip", "-4", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("sysctl", "--all", "--pattern", r"^net\.ipv[46]\.(ip_forward|conf\.)"),
)


def state() -> list[str]:
    """Return its devices, addresses, routes, rules and settings."""
    said = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for words in ASKED]
    return [line for text in said for line in text.splitlines()]
