"""What CNI plugins are told, by whom and in which order: the scripts are run with plugins that only write down."""

import base64
import inspect
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactProcessError

from podnet import attachments, modes
from podnet.attachments import (
    Attached,
    Attachment,
    Namespace,
    Seen,
    Todo,
    malformed,
    misnamed,
    misspelled,
    obstacles,
    own,
    refused,
    todo,
)
from podnet.cluster import Cluster
from podnet.errors import ClusterError
from podnet.facts.cni import Attachments, parse, script
from podnet.inventory import read
from podnet.marks import CONFLIST
from podnet.operations import cni
from podnet.operations.writing import Refusal
from podnet.state import File
from tests.core import goldens
from tests.core.examples import cluster, hosts

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
SUPPORTED = dict.fromkeys(("bridge", "host-local", "portmap"), VERSIONS)
RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.244.1.4/24"}], "dns": {}}
WEB = own("web")
FULL = "failed to allocate for range 0: no IP addresses available in range set: 10.244.1.4-10.244.1.254"


def conflist(mode: str = "vxlan") -> str:
    """Return the list that a mode leaves on the first host."""
    of = cluster()
    want = modes.wanted(goldens.mode(mode), of, of.node("node1"))
    (text,) = (
        file.text for file in want.files if isinstance(file, File) and file.path == CONFLIST.format(alias="podnet")
    )
    return text


def seen(*attached: Attached, **other: Any) -> Seen:
    """Describe a host in vxlan with these attachments."""
    return replace(Seen("podnet", "1", conflist(), SUPPORTED, {}, attached), **other)


def held(attachment: Attachment = WEB, **other: Any) -> Attached:
    """Describe an attachment that is as it should be."""
    return replace(Attached(attachment, ours=True, inode="7", addresses=("10.244.1.4/24",), config=conflist()), **other)


def there(attachment: Attachment = WEB, inode: str = "7", *devices: str) -> dict[str, Namespace]:
    """Describe its namespace."""
    return {attachment.netns: Namespace(inode, frozenset({"lo", *devices}))}


class Fakes:
    """Plugins in a folder of their own that write down how they were called, and what they leave on a host."""

    def __init__(self, folder: Path) -> None:
        """Make them for both plugins of vxlan's list."""
        self.folder = folder
        self.said = folder / "said"
        self.netns = folder / "netns"
        for name in ("plugins", "given"):
            (folder / name).mkdir()
        self.netns.touch()
        for name in ("bridge", "portmap"):
            result = json.dumps({**RESULT, "by": name}, indent=4)  # as the reference plugins print it
            self.has(name, f"if [ $CNI_COMMAND = ADD ]; then echo '{result}'; fi")

    def has(self, name: str, does: str) -> None:
        """Have a plugin write down its call, and do this."""
        call = f'echo "$CNI_COMMAND {name} $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS" >>{self.said}'
        path = self.folder / "plugins" / name
        path.write_text(f"#!/bin/sh\n{call}\ncat >{self.folder}/given/$CNI_COMMAND-{name}\n{does}\n")
        path.chmod(0o755)

    def run(self, what: Todo, of: Seen) -> subprocess.CompletedProcess[str]:
        """Run the script that a host would be sent."""
        text = attachments.script(what, of)
        for name, folder in (
            ("plugins", attachments.PLUGINS),
            ("kept", attachments.KEPT),
            ("res", attachments.RESULTS),
        ):
            text = text.replace(folder, str(self.folder / name))
        path = f"{self.folder / 'plugins'}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh"],
            env={"PATH": path},
            input=text,
            text=True,
            capture_output=True,
            check=False,
            start_new_session=True,
            timeout=20,
        )

    def look(self) -> Seen:
        """Run the script of the fact, and read what it says; no file is a namespace here."""
        text = script("podnet", [str(self.netns)])
        for name, folder in (
            ("plugins", attachments.PLUGINS),
            ("kept", attachments.KEPT),
            ("res", attachments.RESULTS),
            ("conflist", CONFLIST.format(alias="podnet")),
        ):
            text = text.replace(folder, str(self.folder / name))
        env = {"PATH": f"{self.folder / 'root'}:{os.environ['PATH']}"}
        (self.folder / "root").mkdir(exist_ok=True)
        (self.folder / "root" / "id").write_text("#!/bin/sh\necho 0\n")
        (self.folder / "root" / "id").chmod(0o755)
        done = subprocess.run(["sh"], env=env, input=text, text=True, capture_output=True, check=True, timeout=20)
        return parse(done.stdout.splitlines())

    def calls(self) -> list[str]:
        """Return what was called since this was asked last, without whom."""
        words = [line.split() for line in self.said.read_text().splitlines()] if self.said.exists() else []
        self.said.unlink(missing_ok=True)
        return [f"{command} {plugin}" for command, plugin, *_ in words]

    def given(self, command: str, plugin: str) -> dict[str, Any]:
        """Return what a plugin was given last."""
        read: dict[str, Any] = json.loads((self.folder / "given" / f"{command}-{plugin}").read_text())
        return read

    def left(self) -> list[str]:
        """List what is left of attachments."""
        places = [self.folder / "kept", self.folder / "res"]
        return sorted(str(path.relative_to(self.folder)) for place in places for path in place.glob("**/*"))

    @property
    def web(self) -> Attachment:
        """A container that somebody runs."""
        return Attachment("c1", str(self.netns))

    def inode(self) -> str:
        """Return that of its namespace."""
        return str(self.netns.stat().st_ino)


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    """Return plugins that only write down."""
    return Fakes(tmp_path)


def test_plugins_add_in_order_each_told_what_those_before_it_did(fakes: Fakes) -> None:
    """And name and version of the network; what is kept for CHECK and DEL has the last result."""
    done = fakes.run(Todo(add=(fakes.web,)), seen())
    assert done.returncode == 0, done
    assert fakes.calls() == ["ADD bridge", "ADD portmap"]
    first, second = fakes.given("ADD", "bridge"), fakes.given("ADD", "portmap")
    plugins = json.loads(conflist())["plugins"]
    assert first == {"cniVersion": "1.0.0", "name": "podnet", **plugins[0]}
    assert second == {"cniVersion": "1.0.0", "name": "podnet", **plugins[1], "prevResult": {**RESULT, "by": "bridge"}}
    kept = fakes.folder / "kept" / "podnet-c1-eth0"
    last = {**RESULT, "by": "portmap"}
    assert json.loads((kept / "01-bridge").read_text()) == {**first, "prevResult": last}
    assert json.loads((kept / "02-portmap").read_text()) == {**second, "prevResult": last}
    assert (kept / "of").read_text() == f"c1 eth0 {fakes.netns} {fakes.inode()}\n"


def test_the_result_is_cached_as_libcni_does_it(fakes: Fakes) -> None:
    """So that other tools of CNI find it: libcni's cachedInfo, in /var/lib/cni/results."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    cached = json.loads((fakes.folder / "res" / "podnet-c1-eth0").read_text())
    config = cached.pop("config")
    assert base64.b64decode(config).decode() == conflist()
    assert cached == {
        "kind": "cniCacheV1",
        "containerId": "c1",
        "ifName": "eth0",
        "networkName": "podnet",
        "netns": str(fakes.netns),
        "result": {**RESULT, "by": "portmap"},
    }


def test_plugins_delete_in_reverse_order_and_nothing_is_left(fakes: Fakes) -> None:
    """They are told the result of ADD."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    fakes.calls()
    found = held(fakes.web, inode=fakes.inode())
    done = fakes.run(Todo(remove=(found,)), seen(found, namespaces=there(fakes.web, fakes.inode())))
    assert done.returncode == 0, done
    assert fakes.said.read_text().splitlines()[0] == f"DEL portmap c1 eth0 {fakes.netns}"
    assert fakes.calls() == ["DEL portmap", "DEL bridge"]
    assert fakes.given("DEL", "bridge")["prevResult"] == {**RESULT, "by": "portmap"}
    assert fakes.left() == []


def test_a_namespace_that_has_got_its_path_since_is_not_touched(fakes: Fakes) -> None:
    """DEL without a namespace gives back the address, and nobody else loses an eth0."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    fakes.said.unlink()
    found = held(fakes.web, inode="another")
    fakes.run(Todo(remove=(found,)), seen(found, namespaces=there(fakes.web, fakes.inode())))
    assert fakes.said.read_text() == "DEL portmap c1 eth0 \nDEL bridge c1 eth0 \n"


@pytest.mark.parametrize("at", ["ADD bridge", "ADD portmap"])
def test_an_attachment_that_was_cut_off_is_deleted_and_added(fakes: Fakes, at: str) -> None:
    """Wherever it was killed, what is to be deleted has been noted before."""
    command, plugin = at.split()
    fakes.has(plugin, f"if [ $CNI_COMMAND = {command} ]; then kill -9 0; fi")
    assert fakes.run(Todo(add=(fakes.web,)), seen()).returncode == -signal.SIGKILL
    assert fakes.calls()[-1] == at
    assert not (fakes.folder / "res").exists()
    fakes.has(plugin, f"if [ $CNI_COMMAND = ADD ]; then echo '{json.dumps(RESULT)}'; fi")
    container, ifname, netns, inode = (fakes.folder / "kept" / "podnet-c1-eth0" / "of").read_text().split()
    found = Attached(Attachment(container, netns, ifname), ours=True, inode=inode, wrong="it was cut off half-way")
    now = seen(found, namespaces=there(fakes.web, fakes.inode()))
    again = todo([fakes.web], now)
    assert again == Todo(remove=(found,), add=(fakes.web,))
    done = fakes.run(again, now)
    assert done.returncode == 0, done
    assert fakes.calls() == ["DEL portmap", "DEL bridge", "ADD bridge", "ADD portmap"]


def test_a_namespace_is_known_for_ours_before_it_is_made(fakes: Fakes) -> None:
    """Else the next run would take it for somebody else's, and refuse it."""
    fakes.has("ip", "kill -9 0")
    assert fakes.run(Todo(add=(WEB,)), seen()).returncode == -signal.SIGKILL
    of = fakes.folder / "kept" / "podnet-pods_cni.web-eth0" / "of"
    assert of.read_text() == "pods_cni.web eth0 /run/netns/web -\n"


def test_a_plugin_that_fails_is_named_and_what_was_added_is_deleted(fakes: Fakes) -> None:
    """No later plugin is asked to add, and no result is cached."""
    error = {"cniVersion": "1.0.0", "code": 5, "msg": "iptables is not there", "details": "see its path"}
    fakes.has("portmap", f"if [ $CNI_COMMAND = ADD ]; then echo '{json.dumps(error)}'; exit 1; fi")
    done = fakes.run(Todo(add=(fakes.web,)), seen())
    assert done.returncode == 1
    assert fakes.calls() == ["ADD bridge", "ADD portmap", "DEL portmap", "DEL bridge"]
    assert refused(done.stdout.splitlines(), seen()) == (
        "the plugin /usr/lib/cni/portmap could not ADD c1: iptables is not there (see its path) (code 5); run it again "
        "once that is mended"
    )
    assert fakes.left() == ["kept/podnet-c1-eth0", "kept/podnet-c1-eth0/of"]


def test_a_list_is_read_however_its_spaces_are(fakes: Fakes) -> None:
    """All programs that it names are asked for their versions, and nobody else."""
    listed = {"cniVersion": "1.0.0", "name": "podnet", "plugins": [{"type": "bridge", "ipam": {"type": "gone"}}]}
    fakes.has("bridge", """echo '{"supportedVersions": ["1.0.0"]}'""")
    for text in (json.dumps(listed), json.dumps(listed, separators=(" ,\t", " :\n ")), json.dumps(listed, indent=8)):
        (fakes.folder / "conflist").write_text(text)
        found = fakes.look()
        assert found.supported == {"bridge": ("1.0.0",), "gone": ()}
        assert json.loads(found.conflist) == listed


@pytest.mark.parametrize("how", ["", "\0\0\0", "\x80\xff", "half"])
def test_files_that_lost_their_words_are_mended(fakes: Fakes, how: str) -> None:
    """Whichever they are: as a failure of the power leaves them, which no run may end by."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    assert [item.wrong for item in fakes.look().attached] == [""]
    names = ["kept/podnet-c1-eth0/of", "kept/podnet-c1-eth0/01-bridge", "kept/podnet-c1-eth0/02-portmap"]
    for damaged in (*([name] for name in [*names, "res/podnet-c1-eth0"]), [*names, "res/podnet-c1-eth0"]):
        for name in damaged:
            path = fakes.folder / name
            path.write_bytes(path.read_bytes()[:20] if how == "half" else how.encode("latin-1"))
        found = fakes.look()
        (item,) = found.attached
        assert (item.ours, item.wrong != "") == (True, True), damaged
        now = replace(found, conflist=conflist(), supported=SUPPORTED, namespaces=there(fakes.web, fakes.inode()))
        what = todo([fakes.web], now)
        assert [*obstacles(what, now)] == []
        fakes.calls()
        done = fakes.run(what, now)
        assert done.returncode == 0, (damaged, done)
        assert fakes.calls() == ["DEL portmap", "DEL bridge", "ADD bridge", "ADD portmap"]
        assert fakes.given("DEL", "bridge")["type"] == "bridge"
        assert [item.wrong for item in fakes.look().attached] == [""]


def test_a_note_that_is_gone_is_mended_as_one_that_is_damaged(fakes: Fakes) -> None:
    """By what else there is."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    (fakes.folder / "kept" / "podnet-c1-eth0" / "of").unlink()
    (item,) = fakes.look().attached
    assert (item.attachment, item.ours, item.inode) == (fakes.web, True, "")
    assert item.wrong == "/var/lib/cni/podnet/podnet-c1-eth0/of is damaged"


def test_an_attachment_without_what_its_plugins_are_given_is_not_whole(fakes: Fakes) -> None:
    """No plugin would be asked, and so none would find anything wrong."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    for path in (fakes.folder / "kept" / "podnet-c1-eth0").glob("[0-9]*"):
        path.unlink()
    (item,) = fakes.look().attached
    assert (item.wrong, item.renew) == ("nothing is kept of what its plugins are to be given", True)
    (fakes.folder / "res" / "podnet-c1-eth0").unlink()
    (item,) = fakes.look().attached
    assert (item.wrong, item.renew) == ("it was cut off half-way", False)


def test_a_folder_without_a_note_is_detached_as_well(fakes: Fakes) -> None:
    """Made just before the cut: it must not be there for ever."""
    (fakes.folder / "kept" / "podnet-c1-eth0").mkdir(parents=True)
    (found,) = fakes.look().attached
    assert (found.attachment.key, found.ours, found.wrong != "") == (("c1", "eth0"), True, True)
    now = seen(found)
    what = todo([], now, gone=[Attachment("c1", "")])
    assert [*obstacles(what, now)] == []
    assert fakes.run(what, now).returncode == 0
    assert (fakes.calls(), fakes.left()) == ([], [])


def test_a_plugin_that_is_not_there_is_named_with_its_package(fakes: Fakes) -> None:
    """Somebody has removed it since; what it has done is still there, and is deleted once it is back."""
    fakes.run(Todo(add=(fakes.web,)), seen())
    fakes.calls()
    found = held(fakes.web, inode=fakes.inode())
    (fakes.folder / "plugins" / "portmap").rename(fakes.folder / "away")
    done = fakes.run(Todo(remove=(found,)), seen(found))
    assert (done.returncode, fakes.calls()) == (1, [])
    assert refused(done.stdout.splitlines(), seen(), done.stderr.splitlines()) == (
        "the plugin /usr/lib/cni/portmap could not DEL c1: it cannot be run on this host: install the package "
        "containernetworking-plugins; run it again once that is mended"
    )
    (fakes.folder / "away").rename(fakes.folder / "plugins" / "portmap")
    assert fakes.run(Todo(remove=(found,)), seen(found)).returncode == 0
    assert (fakes.calls(), fakes.left()) == (["DEL portmap", "DEL bridge"], [])


def test_a_full_subnet_is_named() -> None:
    """host-local names only its ranges; the way out is in the inventory."""
    said = [
        "==podnet== ADD pods_cni.web bridge",
        json.dumps({"code": 999, "msg": FULL}),
        "==podnet== DEL x bridge",
        "{",
    ]
    assert refused(said, seen()) == (
        f"the plugin /usr/lib/cni/bridge could not ADD pods_cni.web: {FULL} (code 999); the node's subnet "
        "10.244.1.0/24 is full: take some of its `pods` or `cni_pods` away, remove containers, or give it a larger "
        "`pod_subnet`"
    )


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ([], "it said nothing"),
        (["panic: no", "goroutine 1"], "panic: no\ngoroutine 1"),
        (['["no error"]'], '["no error"]'),
        (['{"code": 7, "msg": "no"}'], "no (code 7)"),
    ],
)
def test_what_a_plugin_says_is_told_in_its_words(said: list[str], sentence: str) -> None:
    """An error of CNI is JSON; one that fails otherwise may say anything."""
    assert refused(["==podnet== CHECK c1 bridge", *said], seen()) == (
        f"the plugin /usr/lib/cni/bridge could not CHECK c1: {sentence}; run it again once that is mended"
    )
    assert refused(["nothing"], seen()) == ""


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({}, "1.0.0"),
        ({"portmap": ("0.3.1", "0.4.0")}, "0.4.0"),
        ({"host-local": ("0.4.0", "1.0.0", "1.1.0"), "bridge": ("0.4.0", "1.1.0")}, "0.4.0"),
        ({"bridge": ("0.1.0", "0.3.1")}, ""),
        ({"bridge": ("1.1.0",)}, ""),
    ],
)
def test_the_latest_version_that_all_support_is_spoken(versions: dict[str, tuple[str, ...]], chosen: str) -> None:
    """That of the list at most, and one that knows CHECK."""
    supported = {**SUPPORTED, **versions}
    assert attachments.version(conflist(), supported) == chosen
    found = [*obstacles(Todo(add=(WEB,)), seen(supported=supported))]
    assert bool(found) is not bool(chosen)
    assert all("no version of CNI from 0.4.0 to that of" in reason for reason in found)


def test_what_is_attached_stays() -> None:
    """A second run does nothing; nor does one with other addresses left to the plugins."""
    now = seen(held())
    assert todo([WEB], now) == Todo()
    fewer = json.loads(conflist())
    fewer["plugins"][0]["ipam"]["ranges"] = [[{"subnet": "10.244.1.0/24", "rangeStart": "10.244.1.9"}]]
    assert todo([WEB], replace(now, conflist=json.dumps(fewer))) == Todo()
    assert todo([WEB], replace(now, conflist="")) == Todo()


@pytest.mark.parametrize(
    "change",
    [{"wrong": "CHECK says no"}, {"config": conflist("host_gw")}, {"attachment": replace(WEB, netns="/run/x")}],
)
def test_what_is_attached_wrongly_is_deleted_and_added(change: dict[str, Any]) -> None:
    """Where a plugin's CHECK fails, for another mode, and for a container that has another namespace now."""
    found = held(**change)
    assert todo([WEB], seen(found)) == Todo(remove=(found,), add=(WEB,))


def test_only_what_podnet_attached_is_detached() -> None:
    """What another runtime attached is refused, and named."""
    theirs = held(Attachment("c2", "/run/netns/c2"), ours=False)
    now = seen(held(), theirs)
    assert todo([], now, gone=[WEB, theirs.attachment, own("nobody")]) == Todo(remove=(held(),))
    (reason,) = attachments.foreign([WEB, theirs.attachment], now)
    assert reason == "c2 has been attached to podnet by another runtime; detach it there"
    (reason,) = attachments.foreign([WEB], seen(held(ours=False)))
    assert "/var/lib/cni/results/podnet-pods_cni.web-eth0 is there, but not /var/lib/cni/podnet/podnet-pods" in reason


SOMEBODYS = Attachment("c1", "/proc/4711/ns/net")
IN_THE_WAY: list[tuple[Attachment, dict[str, Any], str]] = [
    (WEB, {"conflist": ""}, "/etc/cni/net.d/10-podnet.conflist is not there, or is empty: apply a mode"),
    (WEB, {"supported": {**SUPPORTED, "portmap": ()}}, "/usr/lib/cni/portmap cannot be run on this host: install the "),
    (WEB, {"namespaces": there()}, "/run/netns/web is there, and podnet did not make it; name the pod otherwise"),
    (WEB, {"namespaces": there(inode="8"), "attached": (held(wrong="x"),)}, "/run/netns/web is there, and podnet did"),
    (SOMEBODYS, {}, "c1: /proc/4711/ns/net is no network namespace; start the container first, or correct the path"),
    (SOMEBODYS, {"namespaces": there(SOMEBODYS, "1")}, "c1: /proc/4711/ns/net is the host's own network namespace"),
    (SOMEBODYS, {"namespaces": there(SOMEBODYS, "7", "eth0")}, "/proc/4711/ns/net has an eth0 that is not podnet's"),
    (
        SOMEBODYS,
        {"attached": (held(SOMEBODYS, ours=False, wrong="x"),)},
        "c1 has been attached to podnet by another ru",
    ),
]


@pytest.mark.parametrize(("want", "host", "sentence"), IN_THE_WAY)
def test_what_is_in_the_way_is_told_before_anything_is_changed(
    want: Attachment, host: dict[str, Any], sentence: str
) -> None:
    """In a sentence with a way out."""
    (reason,) = obstacles(Todo(add=(want,)), seen(**host))
    assert reason.startswith(sentence)


def test_nothing_is_in_the_way_of_what_was_begun() -> None:
    """A namespace of ours may be there from a run that was cut off, or be gone after a reboot."""
    for inode, namespaces in (("7", there()), ("", there()), ("7", {})):
        found = held(wrong="it was cut off half-way", inode=inode)
        assert [*obstacles(Todo(add=(WEB,)), seen(found, namespaces=namespaces))] == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"container": "a b"}, "`container` is 'a b'; it must be an id"),
        ({"container": "../x"}, "`container` is '../x'; it must be an id"),
        (
            {"container": "podnet-pod1"},
            "`container` is 'podnet-pod1'; ids that begin so are those of podnet's own pods",
        ),
        ({"container": "pods_cni.web"}, "`container` is 'pods_cni.web'; ids that begin so"),
        ({"ifname": ".."}, "`ifname` is '..'; it must be an interface's name"),
        ({"ifname": "e" * 16}, "`ifname` is 'eeeeeeeeeeeeeeee'"),
        ({"netns": "/run/netns/$(id)"}, "`netns` is '/run/netns/$(id)'; it must be a path like /run/netns/web"),
        ({"netns": "web"}, "`netns` is 'web'"),
        ({"netns": ""}, "`netns` is ''"),
        ({"container": 4711}, "`container` is 4711; it must be an id"),
        ({"ifname": None}, "`ifname` is None"),
    ],
)
def test_names_are_checked_before_a_shell_sees_them(change: dict[str, object], what: str) -> None:
    """The specification takes no others."""
    said: dict[str, object] = {"container": "c1", "ifname": "eth0", "netns": "/proc/4711/ns/net"}
    (reason,) = malformed(network="podnet", **{**said, **change})
    assert reason.startswith(what)
    assert [*malformed(network="podnet7", **said)] == []
    assert [*malformed(network="a;b", **said)] != []


def test_names_of_our_own_namespaces_are_checked_as_well() -> None:
    """A deploy may give any; what comes from the inventory has been checked before."""
    assert [*misnamed(["web", "db"]), *misspelled(network="podnet")] == []
    (said,) = misnamed(["web", "my web; touch /x"])
    assert said == "`names` has 'my web; touch /x'; a namespace's name is letters, digits and _ . - (not first)"
    (said,) = misspelled(network="podnet; x")
    assert said.startswith("`network` is 'podnet; x'")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("web", "`names` is 'web'; it must be a list of names, like ['web', 'db']"),
        (None, "`names` is None; it must be a list"),
        (iter(["web"]), "`names` is <list_iterator"),
        (["web", 7], "`names` has 7; a namespace's name is"),
        (["podnet-pod1"], "`names` has 'podnet-pod1'; namespaces of such names are those of podnet's own `pods`"),
    ],
)
def test_what_is_no_list_of_names_is_no_list_of_letters(names: object, sentence: str) -> None:
    """Nor is what can be gone through only once, since pyinfra asks twice."""
    (said,) = misnamed(names)
    assert said.startswith(sentence)


ANSWER = f"""greeting
==podnet== network podnet 1
{conflist()}
==podnet== plugin bridge
{{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}}
==podnet== plugin host-local
==podnet== netns /run/netns/web 7
[{{"ifname":"lo"}},{{"ifname":"eth0"}}]
==podnet== result podnet-pods_cni.web-eth0
{{"kind":"cniCacheV1","containerId":"pods_cni.web","config":"{base64.b64encode(conflist().encode()).decode()}",
"ifName":"eth0","networkName":"podnet","netns":"/run/netns/web","result":{json.dumps(RESULT)}}}

==podnet== result podnet-c2-eth0
{{"kind":"cniCacheV1","containerId":"c2","config":"e30=","ifName":"eth0","networkName":"podnet","result":{{}}}}

==podnet== result podnet-extra-c9-eth0
{{"kind":"cniCacheV1","containerId":"c9","config":"e30=","ifName":"eth0","networkName":"podnet-extra","result":{{}}}}

==podnet== kept pods_cni.web eth0 /run/netns/web 7
==podnet== kept pods_cni.db eth0 /run/netns/db -
its namespace is gone
==podnet== kept c3 eth0 /run/netns/c3 9
{{"code": 999, "msg": "no route",
"details": ""}}
refused bridge
==podnet== end"""


def test_what_is_attached_is_read() -> None:
    """By podnet and by others; what CHECK says, and what was cut off."""
    found = parse(ANSWER.splitlines())
    assert (found.network, found.host) == ("podnet", "1")
    assert found.supported == {"bridge": ("0.4.0", "1.0.0"), "host-local": ()}
    assert found.namespaces == there(WEB, "7", "eth0")
    by_id = {item.attachment.container: item for item in found.attached}
    assert by_id["pods_cni.web"] == held(config=conflist())
    assert by_id["c2"] == Attached(Attachment("c2", ""), ours=False, config="{}")
    assert "c9" not in by_id  # in another network, whose name begins in the same way
    assert by_id["pods_cni.db"] == Attached(own("db"), ours=True, wrong="its namespace is gone")
    wrong = "CHECK by bridge says: no route (code 999)"
    assert by_id["c3"] == Attached(Attachment("c3", "/run/netns/c3"), ours=True, inode="9", wrong=wrong)


@pytest.mark.parametrize("damage", [(r"==podnet== end", ""), (r"netns /run\S+ 7\n", "what\n"), (r'"lo"', "lo")])
def test_an_answer_that_is_not_whole_is_no_empty_list(damage: tuple[str, str]) -> None:
    """Taken for one, containers would be attached twice."""
    with pytest.raises(FactProcessError, match="the list of attachments is not as expected"):
        Attachments().process(re.sub(*damage, ANSWER, count=1).splitlines())


@pytest.mark.parametrize(
    ("operation", "asked", "sentence"),
    [
        (cni.pods, {"names": "web"}, "`names` is 'web'; it must be a list of names"),
        (cni.pods, {"names": ["web"], "network": "mine"}, "`network` is 'mine'; it must be `podnet`"),
        (cni.attach, {"container": "c1", "netns": "web"}, "`netns` is 'web'; it must be a path"),
        (cni.detach, {"container": "a b"}, "`container` is 'a b'; it must be an id"),
        (cni.detach, {"container": "pods_cni.web"}, "`container` is 'pods_cni.web'; ids that begin so"),
        (cni.detach, {"container": "c1", "network": "x;y"}, "`network` is 'x;y'"),
        (cni.detach, {"container": "c1", "ifname": "*"}, "`ifname` is '*'"),
    ],
)
def test_what_cannot_be_is_refused_without_asking_a_host(
    operation: Callable[..., Any], asked: dict[str, object], sentence: str
) -> None:
    """There is none here that could be asked."""
    (refusal,) = inspect.unwrap(operation)(**asked)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith(f"nothing was changed: {sentence}")


DAMAGED = [
    ("", "it is empty"),
    ("????", "Expecting value: line 1 column 1 (char 0)"),
    ('{"kind":"cniCacheV1","contai', "Unterminated string starting at: line 1 column 22 (char 21)"),
    ('{"cniVersion":"0.4.0","ips":[]}', "it has no `networkName`"),
    ('{"networkName":"podnet","containerId":1,"ifName":"eth0"}', "it does not say whom it is about"),
    ("[1]", "it is not built as it should be: list indices must be integers or slices, not str"),
    ('{"networkName":"podnet","containerId":"c1","ifName":"eth0","config":"?","result":{}}', "Only base64 data is"),
]
"""What a host may have in the place of a cached result, and what is said of it."""


def answer(*chunks: str) -> list[str]:
    """Say what a host with these answers."""
    return "\n".join(["==podnet== network podnet 1", conflist(), *chunks, "==podnet== end"]).splitlines()


@pytest.mark.parametrize(("text", "why"), DAMAGED)
def test_a_strangers_damaged_result_stops_only_what_it_is_about(text: str, why: str) -> None:
    """Whose it was, only its name says; everybody else goes on."""
    found = parse(answer("==podnet== result podnet-c1-eth0", text, "==podnet== result podnet-a b", "{"))
    assert found.attached == ()
    assert found.damaged["podnet-c1-eth0"].startswith(why)
    now = replace(found, supported=SUPPORTED, namespaces=there(Attachment("c1", "/run/netns/c1"), "7"))
    assert [*obstacles(Todo(add=(WEB,)), now)] == []
    (said,) = obstacles(Todo(add=(Attachment("c1", "/run/netns/c1"),)), now)
    assert said.startswith(f"c1: /var/lib/cni/results/podnet-c1-eth0 cannot be read ({why}")
    assert said.endswith("nobody knows whether another runtime has attached it; if none has, remove that file")
    assert [*attachments.foreign([Attachment("c1", "")], now)] == [said]


@pytest.mark.parametrize(("text", "why"), DAMAGED)
def test_our_own_damaged_result_is_mended(text: str, why: str) -> None:
    """What is kept beside it does for DEL."""
    found = parse(
        answer("==podnet== result podnet-pods_cni.web-eth0", text, "==podnet== kept pods_cni.web eth0 /run/netns/web 7")
    )
    (web,) = found.attached
    assert (web.attachment, web.ours, web.inode) == (WEB, True, "7")
    assert web.wrong.startswith(f"/var/lib/cni/results/podnet-pods_cni.web-eth0 is damaged: {why}")
    assert todo([WEB], found) == Todo(remove=(web,), add=(WEB,))


def test_whose_note_is_damaged_is_known_by_what_else_there_is() -> None:
    """By the cached result; by the name of a namespace of ours; or, should the id be another's, by what is wanted."""
    note = "/var/lib/cni/podnet/podnet-{}-eth0/of is damaged"
    (web,) = parse(answer("==podnet== unknown podnet-pods_cni.web-eth0")).attached
    assert web == Attached(WEB, ours=True, wrong=note.format("pods_cni.web"))
    config = base64.b64encode(conflist().encode()).decode()
    cache = {"networkName": "podnet", "containerId": "c1", "ifName": "eth0", "netns": "/run/c1", "config": config}
    cached = json.dumps({**cache, "result": RESULT})
    (c1,) = parse(answer("==podnet== result podnet-c1-eth0", cached, "==podnet== unknown podnet-c1-eth0")).attached
    assert c1 == held(Attachment("c1", "/run/c1"), inode="", wrong=note.format("c1"))
    found = parse(answer("==podnet== unknown podnet-c1-eth0"))
    what = todo([SOMEBODYS], found)
    assert what.add == (SOMEBODYS,)
    assert [item.attachment for item in what.remove] == [SOMEBODYS]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name enclosed in double quotes"),
        ("[]", "it is not built as it should be"),
        ('{"name": "podnet", "cniVersion": "1.0.0"}', "it has no `plugins`"),
        ('{"name": "podnet", "cniVersion": "1.0.0", "plugins": []}', "it has no `plugins`"),
        ('{"name": "podnet", "cniVersion": "new", "plugins": [{"type": "bridge"}]}', "its `cniVersion` is 'new'"),
        ('{"name": "podnet", "cniVersion": "1.0.0", "plugins": [{"type": "../x"}]}', "'../x' is no name"),
        ('{"name": "podnet", "cniVersion": "1.0.0", "plugins": [{"ipam": 1}]}', "it has no `type`"),
    ],
)
def test_a_damaged_list_is_told_where_it_is_needed(text: str, why: str) -> None:
    """With what mends it; what is attached stays."""
    (said,) = obstacles(Todo(add=(WEB,)), seen(conflist=text))
    assert said.startswith(f"/etc/cni/net.d/10-podnet.conflist is no list of plugins as podnet writes it: {why}")
    assert said.endswith("; run the mode's deploy, which mends it")
    assert todo([WEB], seen(held(), conflist=text)) == Todo()
    assert todo([WEB], seen(held(config=text))) == Todo(remove=(held(config=text),), add=(WEB,))


def test_a_plugin_that_tells_no_versions_is_told_in_its_words() -> None:
    """One that is there, and executable, and still no plugin of this machine's."""
    chunks = ("==podnet== plugin bridge", "sh: 9: bridge: Exec format error", "refused ", "==podnet== plugin portmap")
    found = parse(answer(*chunks, "==podnet== plugin host-local", '{"supportedVersions":["1.0.0"]}'))
    mute, missing = obstacles(Todo(add=(WEB,)), found)
    assert mute == (
        "/usr/lib/cni/bridge does not tell which versions of CNI it supports: sh: 9: bridge: Exec format error; "
        "install containernetworking-plugins anew"
    )
    assert missing.startswith("/usr/lib/cni/portmap cannot be run on this host: install the package")


def test_what_a_shell_says_of_a_plugin_that_is_gone_is_told() -> None:
    """It says so beside what plugins say."""
    said = refused(["==podnet== DEL c1 bridge"], seen(), ["sh: 41: /usr/lib/cni/bridge: not found", ""])
    assert said.startswith(
        "the plugin /usr/lib/cni/bridge could not DEL c1: sh: 41: /usr/lib/cni/bridge: not found; run"
    )


def inventory_of(cni_pods: object, **other: object) -> Cluster:
    """Read an inventory of one host with these."""
    return read({"node1": {**hosts(1)["node1"], "cni_pods": cni_pods, **other}})


def test_an_inventory_names_pods_for_the_plugins() -> None:
    """As many as addresses are left."""
    assert inventory_of(["web", "db"]).node("node1").cni_pods == ("web", "db")
    assert cluster().node("node1").cni_pods == ()
    inventory_of([f"web{i}" for i in range(251)])


@pytest.mark.parametrize(
    ("cni_pods", "sentence"),
    [
        (2, "node1: `cni_pods` is 2; it must be a list of names, like ['web', 'db']"),
        ("web", "node1: `cni_pods` is 'web'; it must be a list of names"),
        (["Web"], "node1: `cni_pods` is 'Web'; a pod's name is 1 to 63 small letters"),
        ([["web"]], "node1: `cni_pods` is ['web']; a pod's name is"),
        (["web", "web"], "node1: the name web is already taken by node1; name each of its `cni_pods` once"),
        (
            ["podnet-web"],
            "node1: `cni_pods` is 'podnet-web'; namespaces of such names are those of podnet's own `pods`",
        ),
        (
            [f"w{i}" for i in range(252)],
            "node1: `cni_pods` names 252 pods, but 10.244.1.0/24 has room for 251 beside 2",
        ),
    ],
)
def test_an_inventory_that_cannot_be_is_refused(cni_pods: object, sentence: str) -> None:
    """Before any host is asked."""
    with pytest.raises(ClusterError, match=re.escape(sentence)):
        inventory_of(cni_pods)


@pytest.mark.parametrize("mode", goldens.MODES)
def test_a_mode_without_a_list_is_refused_for_an_inventory_with_such_pods(mode: str) -> None:
    """They would have no network; all other modes leave a list by which they are attached."""
    of = inventory_of(["web"])
    if mode in {"macvlan", "ipvlan", "sriov", "veth_pair"}:
        with pytest.raises(ClusterError, match=f"`cni_pods` names web, but {mode} leaves no configuration list"):
            modes.wanted(goldens.mode(mode), of, of.node("node1"))
    else:
        modes.wanted(goldens.mode(mode), of, of.node("node1"))
