"""Containers that are attached to a network through CNI, by podnet or by any runtime that uses libcni."""

import base64
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.attachments import (
    KEPT,
    MADE,
    MARK,
    NETNS,
    PLUGINS,
    RESULTS,
    Attached,
    Attachment,
    Namespace,
    Seen,
    conflist,
    own,
    reason,
    shortly,
)
from podnet.facts.reading import strictly
from podnet.marks import NAME

CUT_OFF = "it was cut off half-way"
GONE = "its namespace is gone"
NOTHING = "nothing is kept of what its plugins are to be given"
REFUSED = "refused "
BARE = "bare "
"""What follows on an attachment of ours whose namespace is gone, and on one that has no files for its plugins; what
follows on the words of a plugin whose CHECK fails; and what comes before a file that is damaged."""
PLAIN = r"LC_ALL=C tr -c '\11\12\40-\176' '?'"
"""What a damaged file holds may be no text at all, and the answer would not be one, either."""


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
  {PLAIN} <{conflist(network)}
  for type in $(tr -d ' \\t\\r\\n' <{conflist(network)} | grep -o '"type":"[^"/]*"' | cut -d '"' -f 4 | sort -u); do
    echo
    echo "{MARK} plugin $type"
    if [ ! -x {PLUGINS}/"$type" ]; then continue; fi
    echo '{{"cniVersion":"1.0.0"}}' | CNI_COMMAND=VERSION {PLUGINS}/"$type" 2>&1 || echo "{REFUSED}"
  done
fi
echo
for path in {" ".join(map(shlex.quote, netns))}; do namespace "$path"; done
for path in {RESULTS}/{network}-*; do
  if [ -f "$path" ]; then echo "{MARK} result ${{path##*/}}"; {PLAIN} <"$path"; echo; fi
done
damage() {{
  found=
  for file in "$1"/[0-9]*; do
    if [ ! -e "$file" ]; then found="{NOTHING}"; break; fi
    first= last=
    while read -r line || [ "$line" ]; do first=${{first:-$line}} last=$line; done <"$file"
    case $first$last in '{{'*'}}') ;; *) found="{BARE}$file"; break ;; esac
  done
  if [ "$found" ]; then echo "$found"; fi
}}
export CNI_COMMAND=CHECK CNI_PATH={PLUGINS} CNI_ARGS=
for path in {KEPT}/{network}-*; do
  if [ ! -d "$path" ]; then continue; fi
  CNI_CONTAINERID= CNI_IFNAME= CNI_NETNS= inode=
  if [ -f "$path"/of ]; then read -r CNI_CONTAINERID CNI_IFNAME CNI_NETNS inode <"$path"/of || test $? = 1; fi
  case $inode in -) ;; *[!0-9]*) inode= ;; esac
  case $CNI_CONTAINERID$CNI_IFNAME$CNI_NETNS in *[!A-Za-z0-9_./-]*) inode= ;; esac
  if [ ! "$inode" ]; then
    case $path in */{network}-{MADE}*-*) made=${{path##*/{network}-{MADE}}}; namespace "{NETNS}${{made%-*}}" ;; esac
    echo "{MARK} unknown ${{path##*/}}"
    damage "$path"
    continue
  fi
  export CNI_CONTAINERID CNI_IFNAME CNI_NETNS
  namespace "$CNI_NETNS"
  echo "{MARK} kept $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $inode"
  damage "$path"
  if [ "$found" ]; then continue; fi
  if [ ! -e "$CNI_NETNS" ] || [ "$(stat -L -c %i "$CNI_NETNS")" != "$inode" ]; then echo "{GONE}"; continue; fi
  for file in "$path"/[0-9]*; do
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
    mute: dict[str, str] = {}
    namespaces: dict[str, Namespace] = {}
    results: dict[str, str] = {}
    kept: dict[str, Attached] = {}
    unknown: dict[str, list[str]] = {}
    network, host, listed = "", "", ""
    for heading, lines in chunks:
        text = "\n".join(lines).strip()
        match heading:
            case ["network", network, host]:
                listed = text
            case ["plugin", name]:
                supported[name], mute[name] = _versions(text)
            case ["netns", path, inode]:
                namespaces[path] = Namespace(inode, frozenset(link["ifname"] for link in json.loads(text)))
            case ["result", *name]:
                results[" ".join(name)] = text
            case ["kept", container, ifname, path, inode]:
                attachment = Attachment(container, path, ifname)
                found = Attached(attachment, ours=True, inode=inode.strip("-"), wrong=_wrong(lines), renew=_bare(lines))
                kept[attachment.file(network)] = found
            case ["unknown", *name]:
                unknown[" ".join(name)] = lines
            case ["end"]:
                pass
            case _:
                raise ValueError(f"{' '.join(heading)!r} tells of nothing")
    attached, damaged = _attached(network, kept, unknown, results)
    told = {name: said for name, said in mute.items() if said}
    return Seen(network, host, listed, supported, namespaces, attached, told, damaged)


def _attached(
    network: str, kept: Mapping[str, Attached], unknown: Mapping[str, list[str]], results: Mapping[str, str]
) -> tuple[tuple[Attached, ...], dict[str, str]]:
    """Join what was noted with what is cached, by the names of their files; beside it what is cached and unreadable."""
    attached: list[Attached] = []
    damaged: dict[str, str] = {}
    for name in sorted({*kept, *unknown, *results}):
        cached, why = _cached(results.get(name), network)
        ours = kept.get(name) or (_noted(name, network, cached, unknown[name]) if name in unknown else None)
        if ours:
            attached.append(_joined(ours, cached, f"{RESULTS}/{name} is damaged: {why}" if why else CUT_OFF))
        elif cached:
            attached.append(cached)
        elif why:
            damaged[name] = why
    return tuple(attached), damaged


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
    if lines in ([GONE], [NOTHING]):
        return lines[0]
    if bare := [line.removeprefix(BARE) for line in lines if line.startswith(BARE)]:
        return f"{bare[0]} is damaged"
    refused = [line.removeprefix(REFUSED) for line in lines if line.startswith(REFUSED)]
    if not refused:
        return ""
    said = "\n".join(line for line in lines if not line.startswith(REFUSED))
    return f"CHECK by {refused[0]} says: {reason(said)}"


def _bare(lines: list[str]) -> bool:
    return any(line.startswith(BARE) for line in lines)


def _versions(text: str) -> tuple[tuple[str, ...], str]:
    """Read which versions a plugin supports, or else what it says; nothing of one that cannot be run."""
    try:
        return (tuple(map(str, json.loads(text)["supportedVersions"])), "") if text else ((), "")
    except (ValueError, LookupError, TypeError):
        return (), reason(text.removesuffix(REFUSED.strip()))


def _cached(text: str | None, network: str) -> tuple[Attached | None, str]:
    """Read what libcni has cached of an attachment, or say why that cannot be; neither if it is another network's.

    Runtimes write these files; a host whose power failed has some without a word.
    """
    if text is None:
        return None, ""
    try:
        result = json.loads(text) if text else {}
        if not result:
            return None, "it is empty"
        if result["networkName"] != network:  # its name begins in the same way
            return None, ""
        whom = (result["containerId"], result.get("netns", ""), result["ifName"])
        if not all(isinstance(word, str) for word in whom):
            return None, "it does not say whom it is about"
        return Attached(
            attachment=Attachment(*whom),
            ours=False,
            addresses=tuple(ip["address"] for ip in result["result"].get("ips") or []),
            config=base64.b64decode(result["config"], validate=True).decode(),
        ), ""
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        return None, shortly(e)


def _noted(name: str, network: str, cached: Attached | None, lines: list[str]) -> Attached:
    """Say who it is whose note is damaged: as cached, or by the folder's name. An inode nobody knows any more."""
    container, _, ifname = name.removeprefix(f"{network}-").rpartition("-")
    attachment = own(container.removeprefix(MADE)) if container.startswith(MADE) else Attachment(container, "", ifname)
    return Attached(
        attachment=cached.attachment if cached else attachment,
        ours=True,
        wrong=f"{KEPT}/{name}/of is damaged",
        renew=_bare(lines) or (NOTHING in lines and cached is not None),
    )


def _joined(ours: Attached, cached: Attached | None, why: str) -> Attached:
    """Join what was noted of an attachment with what is cached of it; without that it is not whole, for this reason."""
    bare = ours.wrong == NOTHING
    if cached is None and why == CUT_OFF:
        return replace(ours, wrong=CUT_OFF if bare else ours.wrong or CUT_OFF)
    if cached is None:
        return replace(ours, wrong=ours.wrong or why, renew=ours.renew or bare)
    return replace(ours, addresses=cached.addresses, config=cached.config, renew=ours.renew or bare)
