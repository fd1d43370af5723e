"""Containers that are attached to a network through CNI, by podnet or by any runtime that uses libcni."""

import base64
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.attachments import (
    KEPT,
    MARK,
    PLUGINS,
    RESULTS,
    Attached,
    Attachment,
    Namespace,
    Seen,
    conflist,
    reason,
)
from podnet.facts.reading import strictly
from podnet.marks import NAME

CUT_OFF = "it was cut off half-way"
GONE = "its namespace is gone"
REFUSED = "refused "
"""What follows on an attachment of ours whose namespace is gone, and on what a plugin says whose CHECK fails."""


class Attachments(FactBase[Seen | None]):
    """What is attached to a network: containers, their namespaces, addresses, and whether CHECK finds all in place.

    `netns` are paths of namespaces of which to say whether they are there.

    .. code:: python

        seen = host.get_fact(Attachments, network="podnet")
        for item in seen.attached:
            print(item.attachment.container, item.addresses, item.wrong)
    """

    @override
    def command(self, network: str = NAME, netns: Sequence[str] = ()) -> str:
        return script(network, netns)

    @override
    def process(self, output: list[str]) -> Seen | None:
        with strictly("the list of attachments"):
            return parse(output)


def script(network: str, netns: Iterable[str]) -> str:
    """Print the network's list, the versions of its plugins, libcni's cache, and namespaces; have plugins CHECK."""
    return f"""set -eu
if [ $(id -u) != 0 ]; then
  echo 'podnet must be root on this host: give its inventory `_sudo`, or log in as root' >&2; exit 1
fi
namespace() {{
  if [ ! -e "$1" ] || [ "$(stat -f -c %T "$1")" != nsfs ]; then return; fi
  echo "{MARK} netns $1 $(stat -L -c %i "$1")"
  nsenter --net="$1" ip -j link show
}}
echo "{MARK} network {network} $(stat -L -c %i /proc/self/ns/net)"
if [ -e {conflist(network)} ]; then
  cat {conflist(network)}
  for type in $(grep -o '"type": *"[^"/]*"' {conflist(network)} | cut -d '"' -f 4 | sort -u); do
    echo "{MARK} plugin $type"
    if [ -x {PLUGINS}/"$type" ]; then echo '{{"cniVersion":"1.0.0"}}' | CNI_COMMAND=VERSION {PLUGINS}/"$type"; fi
  done
fi
for path in {" ".join(map(shlex.quote, netns))}; do namespace "$path"; done
for path in {RESULTS}/{network}-*; do
  if [ -f "$path" ]; then echo "{MARK} result"; cat "$path"; echo; fi
done
export CNI_COMMAND=CHECK CNI_PATH={PLUGINS} CNI_ARGS=
for path in {KEPT}/{network}-*; do
  if [ ! -f "$path"/of ]; then continue; fi
  read -r CNI_CONTAINERID CNI_IFNAME CNI_NETNS inode <"$path"/of
  export CNI_CONTAINERID CNI_IFNAME CNI_NETNS
  namespace "$CNI_NETNS"
  echo "{MARK} kept $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $inode"
  if [ ! -e "$CNI_NETNS" ] || [ "$(stat -L -c %i "$CNI_NETNS")" != "$inode" ]; then echo "{GONE}"; continue; fi
  for file in "$path"/[0-9]*; do
    if [ ! -e "$file" ]; then continue; fi
    name=${{file##*/}}
    {PLUGINS}/"${{name#*-}}" <"$file" || {{ echo; echo "{REFUSED}${{name#*-}}"; break; }}
  done
done
echo "{MARK} end"
"""


def parse(output: Iterable[str]) -> Seen:
    """Read what `script` printed; ValueError unless it is whole."""
    chunks = list(_chunks(output))
    if not chunks or chunks[-1][0] != ["end"]:
        raise ValueError("it was cut short")
    supported: dict[str, tuple[str, ...]] = {}
    namespaces: dict[str, Namespace] = {}
    results: dict[tuple[str, str], dict[str, Any]] = {}
    kept: dict[tuple[str, str], Attached] = {}
    network, host, listed = "", "", ""
    for heading, lines in chunks:
        text = "\n".join(lines).strip()
        match heading:
            case ["network", network, host]:
                listed = text
            case ["plugin", name]:
                supported[name] = tuple(json.loads(text)["supportedVersions"]) if text else ()
            case ["netns", path, inode]:
                namespaces[path] = Namespace(inode, frozenset(link["ifname"] for link in json.loads(text)))
            case ["result"]:
                result = json.loads(text)
                if result["networkName"] == network:  # another network's name may begin in the same way
                    results[result["containerId"], result["ifName"]] = result
            case ["kept", container, ifname, path, inode]:
                attachment = Attachment(container, path, ifname)
                kept[attachment.key] = Attached(attachment, ours=True, inode=inode.strip("-"), wrong=_wrong(lines))
            case ["end"]:
                pass
            case _:
                raise ValueError(f"{' '.join(heading)!r} tells of nothing")
    attached = (_attached(kept.get(key), results.get(key)) for key in sorted({*kept, *results}))
    return Seen(network, host, listed, supported, namespaces, tuple(attached))


def _chunks(output: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    heading: list[str] = []
    lines: list[str] = []
    for line in output:
        if line.startswith(MARK):
            if heading:
                yield heading, lines
            heading, lines = line.removeprefix(MARK).split(), []
        else:  # what comes before the first heading is a login shell's greeting
            lines.append(line)
    if heading:
        yield heading, lines


def _wrong(lines: list[str]) -> str:
    """Say why CHECK failed; plugins that are content are silent."""
    if lines == [GONE]:
        return GONE
    refused = [line.removeprefix(REFUSED) for line in lines if line.startswith(REFUSED)]
    if not refused:
        return ""
    said = "\n".join(line for line in lines if not line.startswith(REFUSED))
    return f"CHECK by {refused[0]} says: {reason(said)}"


def _attached(kept: Attached | None, result: dict[str, Any] | None) -> Attached:
    """Join what was noted of an attachment with what libcni's cache has of it."""
    if result is None:
        if kept is None:
            raise ValueError("neither noted nor cached")
        return Attached(kept.attachment, ours=True, inode=kept.inode, wrong=kept.wrong or CUT_OFF)
    attachment = Attachment(result["containerId"], result.get("netns", ""), result["ifName"])
    return Attached(
        attachment=kept.attachment if kept else attachment,
        ours=kept is not None,
        inode=kept.inode if kept else "",
        addresses=tuple(ip["address"] for ip in result["result"].get("ips", [])),
        config=base64.b64decode(result["config"], validate=True).decode(),
        wrong=kept.wrong if kept else "",
    )
