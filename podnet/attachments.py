"""Containers that the CNI plugins attach to the pods' network: what plugins are told, and what they say.

As libcni does it: the plugins of a configuration list add in their order, each told what those before it did
(prevResult), and delete in reverse; the whole result is cached in libcni's format. Beside that a host keeps, for each
attachment that podnet made, exactly what its plugins are to be given for CHECK and DEL.
"""

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from podnet.marks import ANY_ALIAS, ANY_NETNS, CONFLIST, of
from podnet.rendering import render

PLUGINS = "/usr/lib/cni"
PACKAGE = "containernetworking-plugins"
RESULTS = "/var/lib/cni/results"
"""libcni's cache: a file for each attachment, of whatever runtime."""
KEPT = "/var/lib/cni/podnet"
"""A folder for each attachment of ours, there before its namespace and until all is removed."""
NETNS = "/run/netns/"
MADE = "pods_cni."
"""How the ids of containers begin that are namespaces which podnet makes for the plugins."""
OLDEST = "0.4.0"  # of the specification's versions that know CHECK, and prevResult for DEL
MARK = "==podnet=="
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What the specification takes for the id of a container."""
IFNAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,15}")
PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")
NUMBERS = re.compile(r"\d+(\.\d+)*")
"""A version that can be compared."""
EXHAUSTED = "no IP addresses available"
"""What host-local says, whose errors have no code of their own for it."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """An interface that a container is to have; its namespace is a path, which podnet makes itself if `made`."""

    container: str
    netns: str
    ifname: str = "eth0"

    @property
    def made(self) -> bool:
        """Whether the namespace is podnet's to make and to remove."""
        return self.container.startswith(MADE)

    @property
    def key(self) -> tuple[str, str]:
        """What CNI knows it by."""
        return (self.container, self.ifname)

    def file(self, network: str) -> str:
        """Name the file that libcni caches its result in."""
        return f"{network}-{self.container}-{self.ifname}"


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment that was found on a host.

    `ours`: podnet made it. `inode` is that of its namespace, if that was noted. `addresses` and `config`, the text of
    the configuration list, are empty without a cached result. `wrong` says why it does not hold. `renew`: what its
    plugins are to be given for DEL is damaged, and is to be computed anew.
    """

    attachment: Attachment
    ours: bool
    inode: str = ""
    addresses: tuple[str, ...] = ()
    config: str = ""
    wrong: str = ""
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace that was asked for: its inode, empty if the path leads to none, and its devices."""

    inode: str
    devices: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a host holds of a network's attachments, and what it has to make more.

    `host` is the inode of its own namespace; `supported` the versions of CNI that each of the list's plugins knows,
    and `mute` what those say that tell none. `damaged` are cached results that cannot be read, by their names, and why.
    """

    network: str
    host: str
    conflist: str
    supported: Mapping[str, tuple[str, ...]]
    namespaces: Mapping[str, Namespace]
    attached: tuple[Attached, ...] = ()
    mute: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    def of(self, want: Attachment) -> Attached | None:
        """Find an attachment by what CNI knows it by."""
        return next((item for item in self.attached if item.attachment.key == want.key), None)

    def to_json(self) -> list[dict[str, object]]:
        """Tell the attachments in JSON's types."""
        return [
            {
                "container": item.attachment.container,
                "netns": item.attachment.netns,
                "ifname": item.attachment.ifname,
                "addresses": list(item.addresses),
                "ours": item.ours,
                "wrong": item.wrong,
            }
            for item in self.attached
        ]


def own(name: str) -> Attachment:
    """Return the attachment of a namespace of that name, which podnet makes for the plugins."""
    return Attachment(MADE + name, NETNS + name)


SPELLED = {
    "network": (ANY_ALIAS, "`podnet`, or `podnet7` for the cluster with the vni 7"),
    "container": (ID, "an id of letters, digits and _ . - (not first)"),
    "ifname": (IFNAME, "an interface's name, 1 to 15 letters, digits and _ . -"),
    "netns": (PATH, "a path like /run/netns/web or /proc/4711/ns/net"),
}
"""What the specification, and a shell, take."""


def malformed(**said: object) -> Iterator[str]:
    """Say which of these, by their names in SPELLED, would not be taken, and which ids are not for others."""
    yield from misspelled(**said)
    container = said["container"]
    if isinstance(container, str) and (of(ANY_NETNS, container) or container.startswith(MADE)):
        yield f"`container` is {container!r}; ids that begin so are those of podnet's own pods; name another"


def misspelled(**said: object) -> Iterator[str]:
    """Say which of these, by their names in SPELLED, would not be taken."""
    for what, value in said.items():
        pattern, needed = SPELLED[what]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield f"`{what}` is {value!r}; it must be {needed}"


def misnamed(names: object) -> Iterator[str]:
    """Say why these are no names of namespaces that podnet is to make for the plugins."""
    # What can be gone through only once would be empty the second time, and all pods would be taken away.
    if isinstance(names, str | bytes) or not isinstance(names, Collection):
        yield f"`names` is {names!r}; it must be a list of names, like ['web', 'db']"
        return
    for name in names:
        if not isinstance(name, str) or not ID.fullmatch(name):
            yield f"`names` has {name!r}; a namespace's name is letters, digits and _ . - (not first)"
        elif of(ANY_NETNS, name):
            yield f"`names` has {name!r}; namespaces of such names are those of podnet's own `pods`; name it otherwise"


def conflist(network: str) -> str:
    """Say where the configuration list of a network is."""
    return CONFLIST.format(alias=network)


def unlisted(text: str) -> str:
    """Say why a text is no configuration list; nothing if it is one."""
    try:
        listed = json.loads(text)
        plain = [listed["name"], *(name for plugin in listed["plugins"] for name in types(plugin))]
        if not NUMBERS.fullmatch(listed["cniVersion"]):
            return f"its `cniVersion` is {listed['cniVersion']!r}"
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        return shortly(e)
    strange = [name for name in plain if not isinstance(name, str) or not ID.fullmatch(name)]
    return f"{strange[0]!r} is no name" if strange else "" if listed["plugins"] else "it has no `plugins`"


def shortly(error: Exception) -> str:
    """Say what is not as expected of a text that should be JSON."""
    if isinstance(error, KeyError):
        return f"it has no `{error.args[0]}`"
    return f"{error}" if isinstance(error, ValueError) else f"it is not built as it should be: {error}"


def types(plugin: Mapping[str, Any]) -> Iterator[str]:
    """Name the programs that a plugin's configuration has run: itself, and the one that it asks for addresses."""
    yield plugin["type"]
    if plugin.get("ipam"):
        yield plugin["ipam"]["type"]


def programs(text: str) -> list[str]:
    """Name all programs of a list."""
    return sorted({name for plugin in json.loads(text)["plugins"] for name in types(plugin)})


def version(text: str, supported: Mapping[str, Iterable[str]]) -> str:
    """Choose the latest version that all programs support, and the list allows; nothing if there is none."""
    limit = _number(json.loads(text)["cniVersion"])
    common = set.intersection(*({*filter(NUMBERS.fullmatch, supported[name])} for name in programs(text)))
    return max((each for each in common if _number(OLDEST) <= _number(each) <= limit), key=_number, default="")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def given(text: str, version: str) -> dict[str, str]:
    """Compute what each plugin of a list is given, but for prevResult, by the name of the file that keeps it."""
    listed = json.loads(text)
    head = {"cniVersion": version, "name": listed["name"]}
    return {f"{i:02}-{plugin['type']}": compact(head | plugin) for i, plugin in enumerate(listed["plugins"], 1)}


def cached(text: str, network: str, attachment: Attachment) -> str:
    """Compute what libcni caches of an attachment, up to its result."""
    whole = {
        "kind": "cniCacheV1",
        "containerId": attachment.container,
        "config": base64.b64encode(text.encode()).decode(),
        "ifName": attachment.ifname,
        "networkName": network,
        "netns": attachment.netns,
    }
    return compact(whole).removesuffix("}") + ","


def compact(value: object) -> str:
    """Spell JSON on one line."""
    return json.dumps(value, separators=(",", ":"))


def same(text: str, other: str) -> bool:
    """Say whether containers of both lists are alike: which addresses are left for them does not matter."""
    return not unlisted(text) and not unlisted(other) and _without_ranges(text) == _without_ranges(other)


def _without_ranges(text: str) -> object:
    listed = json.loads(text)
    for plugin in listed["plugins"]:
        if plugin.get("ipam"):
            plugin["ipam"].pop("ranges", None)
    return listed


@dataclass(frozen=True, slots=True)
class Todo:
    """What is to be removed and what to be attached; what is attached wrongly is in both."""

    remove: tuple[Attached, ...] = ()
    add: tuple[Attachment, ...] = ()

    @property
    def summary(self) -> str:
        """Say so in a line."""
        added = [f"ADD {item.container} in {item.netns}" for item in self.add]
        return "; ".join([*(f"DEL {item.attachment.container}" for item in self.remove), *added])


def todo(want: Iterable[Attachment], seen: Seen, gone: Iterable[Attachment] = ()) -> Todo:
    """Compare. What podnet did not attach is not removed."""
    unwanted = [found for item in gone if (found := seen.of(item)) and found.ours]
    add = [item for item in want if not _holds(item, seen)]
    again = [_placed(found, item) for item in add if (found := seen.of(item)) and found.ours]
    return Todo(remove=tuple(unwanted + again), add=tuple(add))


def _placed(found: Attached, want: Attachment) -> Attached:
    """Take the namespace from what is wanted where the note of it is damaged."""
    return found if found.attachment.netns else replace(found, attachment=want)


def _holds(want: Attachment, seen: Seen) -> bool:
    found = seen.of(want)
    if found is None or found.wrong or found.attachment.netns != want.netns:
        return False
    # Only a list can tell that it is another one.
    return not seen.conflist or bool(unlisted(seen.conflist)) or same(found.config, seen.conflist)


def obstacles(todo: Todo, seen: Seen) -> Iterator[str]:
    """Say why something cannot be attached, or be detached by the list."""
    for item in todo.add:
        yield from _in_the_way(item, seen)
    if todo.add or any(item.renew for item in todo.remove):
        yield from _without_list(seen)


def _without_list(seen: Seen) -> Iterator[str]:
    """Say why the host's list cannot be used."""
    path = conflist(seen.network)
    if not seen.conflist:
        yield f"{path} is not there, or is empty: apply a mode that leaves one first (docs/cni.md says which do)"
        return
    if why := unlisted(seen.conflist):
        yield f"{path} is no list of plugins as podnet writes it: {why}; run the mode's deploy, which mends it"
        return
    for name in programs(seen.conflist):
        if said := seen.mute.get(name):
            yield f"{PLUGINS}/{name} does not tell which versions of CNI it supports: {said}; install {PACKAGE} anew"
    silent = [name for name in programs(seen.conflist) if not seen.supported.get(name)]
    if lacking := [name for name in silent if name not in seen.mute]:
        paths = ", ".join(f"{PLUGINS}/{name}" for name in lacking)
        yield f"{paths} cannot be run on this host: install the package {PACKAGE}"
    elif not silent and not version(seen.conflist, seen.supported):
        told = "; ".join(f"{name}: {', '.join(versions)}" for name, versions in sorted(seen.supported.items()))
        yield (
            f"no version of CNI from {OLDEST} to that of {path} is one that all its plugins support ({told}); install "
            f"a newer {PACKAGE}"
        )


def foreign(gone: Iterable[Attachment], seen: Seen) -> Iterator[str]:
    """Find what is to be detached and was not attached by podnet."""
    for item in gone:
        if (found := seen.of(item)) and not found.ours:
            yield _foreign(found, seen)
        yield from _unknown(item, seen)


def _unknown(item: Attachment, seen: Seen) -> Iterator[str]:
    """A cached result that cannot be read stops only what it is about."""
    file = item.file(seen.network)
    if seen.of(item) is None and file in seen.damaged:
        yield (
            f"{item.container}: {RESULTS}/{file} cannot be read ({seen.damaged[file]}), so that nobody knows whether "
            "another runtime has attached it; if none has, remove that file"
        )


def _foreign(found: Attached, seen: Seen) -> str:
    item = found.attachment
    if item.made:
        file = item.file(seen.network)
        return (
            f"{item.container}: {RESULTS}/{file} is there, but not {KEPT}/{file}, without which it cannot be detached; "
            "remove that file, and the container's address below /var/lib/cni/networks"
        )
    return f"{item.container} has been attached to {seen.network} by another runtime; detach it there"


def _in_the_way(want: Attachment, seen: Seen) -> Iterator[str]:
    found, there = seen.of(want), seen.namespaces.get(want.netns)
    yield from _unknown(want, seen)
    if found and not found.ours:
        yield _foreign(found, seen)
    elif not want.made and (there is None or not there.inode):
        yield f"{want.container}: {want.netns} is no network namespace; start the container first, or correct the path"
    elif there and there.inode == seen.host:
        yield (
            f"{want.container}: {want.netns} is the host's own network namespace; a container that shares it cannot be"
            " attached"
        )
    elif want.made and there and there.inode and (found is None or found.inode not in {"", there.inode}):
        yield f"{want.netns} is there, and podnet did not make it; name the pod otherwise, or remove that namespace"
    elif found is None and there and want.ifname in there.devices:
        yield f"{want.netns} has an {want.ifname} that is not podnet's; remove it, or name another interface"


def script(todo: Todo, seen: Seen) -> str:
    """Render the shell script that does it."""
    renewed = {item.attachment.key for item in todo.remove if item.renew}
    listed = given(seen.conflist, version(seen.conflist, seen.supported)) if todo.add or renewed else {}
    return render(
        "cni.sh.j2",
        mark=MARK,
        plugins=PLUGINS,
        package=PACKAGE,
        results=RESULTS,
        kept=KEPT,
        network=seen.network,
        remove=[replace(item.attachment, netns=_present(item, seen)) for item in todo.remove],
        again={item.key for item in todo.add},
        renewed=renewed,
        add=todo.add,
        given=listed,
        cached={item: cached(seen.conflist, seen.network, item) for item in todo.add},
    )


def _present(item: Attached, seen: Seen) -> str:
    """Say which namespace to take an attachment out of: none where its path now leads to another one.

    The id of a process may have become another's, in whose namespace DEL would delete the interface of that name.
    """
    there = seen.namespaces.get(item.attachment.netns)
    return item.attachment.netns if there and there.inode and item.inode in {"", there.inode} else ""


def refused(lines: Iterable[str], seen: Seen, beside: Iterable[str] = ()) -> str:
    """Make a sentence of what a plugin said; nothing if none has refused anything.

    `beside` was said on standard error: by the shell, of a plugin that cannot be run.
    """
    heading, said = "", []
    for line in lines:
        if line.startswith(MARK) and not heading:
            heading = line.removeprefix(MARK).strip()
        elif line.startswith(MARK):
            break
        elif heading:
            said.append(line)
    if not heading:
        return ""
    command, container, plugin = heading.split()
    error = reason("\n".join(said).strip() or "; ".join(line.strip() for line in beside if line.strip()))
    sentence = f"the plugin {PLUGINS}/{plugin} could not {command} {container}: {error}"
    if EXHAUSTED in error:
        return f"{sentence}; the node's subnet {_subnets(seen.conflist)} is full: {ROOM}"
    return f"{sentence}; run it again once that is mended"


ROOM = "take some of its `pods` or `cni_pods` away, remove containers, or give it a larger `pod_subnet`"


def reason(said: str) -> str:
    """Take from a plugin's error what it says: its message and details."""
    try:
        error = json.loads(said)
    except ValueError:
        return said.strip() or "it said nothing"
    if not isinstance(error, dict) or not {"code", "msg"} <= error.keys():
        return said.strip()
    details = f" ({error['details']})" if error.get("details") else ""
    return f"{error['msg']}{details} (code {error['code']})"


def _subnets(text: str) -> str:
    ipams = [plugin["ipam"] for plugin in json.loads(text)["plugins"] if plugin.get("ipam")]
    return ", ".join(sorted({each["subnet"] for ipam in ipams for ranges in ipam.get("ranges", []) for each in ranges}))
