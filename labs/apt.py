"""Where this machine gets Debian from, so that the image comes from the same mirror and through the same proxy."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

SETTING = re.compile(r'(Acquire::(?:https?::Proxy\S*|Retries|Check-Valid-Until|Check-Date) ".+";)')


def sources(suite: str, etc: Path = Path("/etc/apt")) -> list[str]:
    """Return this machine's own Debian mirrors of a suite, as lines for mmdebstrap; none if it has another suite."""
    entries = [
        *(entry for path in sorted(etc.glob("sources.list.d/*.sources")) for entry in stanzas(path.read_text())),
        *(entry for path in sorted(etc.glob("sources.list.d/*.list")) for entry in lines(path.read_text())),
        *(entry for path in etc.glob("sources.list") for entry in lines(path.read_text())),
    ]
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    found = {
        name: f"deb {entry['uris'].split()[0]} {name} main"
        for entry in entries
        if is_debian(entry)
        for name in entry["suites"].split()
        if name in wanted
    }
    return [found[name] for name in wanted if name in found] if suite in found else []


def backports(suite: str) -> str | None:
    """Return the line for the suite's backports, from the mirror that has the suite; None if no mirror is known."""
    return next((line.replace(f" {suite} ", f" {suite}-backports ") for line in sources(suite)), None)


def is_debian(entry: dict[str, str]) -> bool:
    """Whether an entry is of Debian itself, which others that serve the same suite are not."""
    return (
        entry.get("types", "").split()[:1] == ["deb"]
        and "main" in entry.get("components", "").split()
        and entry.get("enabled", "yes") == "yes"
        and "debian-archive" in entry.get("signed-by", "debian-archive")
        and entry["uris"].startswith(("http://", "https://"))
    )


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Read a .sources file."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        if fields:
            yield {name.lower(): value.strip() for name, value in fields}


def lines(text: str) -> Iterator[dict[str, str]]:
    """Read a .list file."""
    for options, uri, suite, components in re.findall(
        r"^deb[ \t]+(?:\[([^]]*)\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]+([^#\n]+)", text, re.MULTILINE
    ):
        given = dict(option.split("=", 1) for option in options.split() if "=" in option)
        yield {"types": "deb", "uris": uri, "suites": suite, "components": components, **given}


def settings() -> list[str]:
    """Return this machine's apt settings that decide whether a mirror can be used."""
    dump = subprocess.run(["apt-config", "dump"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return SETTING.findall(dump)
