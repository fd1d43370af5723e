"""The inventory of the Vagrantfile's machines, by a `vagrant` that only says what it is told to.

The real one runs in tests/vagrant.
"""

import json
import os
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import InventoryError

from podnet import inventory
from podnet.labs import vagrant

ROOT = Path(__file__).parents[2]
PLAN = json.loads((ROOT / "inventories" / "vagrant.json").read_text())
NAMES = list(PLAN["machines"])
ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+\b")
PORT = 2200
SAYS = """\
ssh-rsa AAAArsa root@{name}
ssh-ed25519 AAAA{key} root@{name}
podnet: 3: {dev}    inet {address} brd 192.168.56.255 scope global {dev}\\       valid_lft forever preferred_lft forever
"""
STANZA = """\
Host {name}
  HostName 127.0.0.1
  User vagrant
  Port {port}
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  IdentityFile "/a folder/{name}/private_key"

"""
# It counts what it is asked, and answers from files.
FAKE = """\
#!/bin/sh
echo "$@" >>{folder}/asked
case $1 in
    ssh-config) cat {folder}/ssh-config ;;
    ssh) cat "{folder}/$2.says" ;;
esac
"""


@dataclass(frozen=True)
class Fake:
    """What the false `vagrant` will say."""

    folder: Path

    def is_made(self, name: str, number: str, dev: str = "enp0s8", key: str = "one") -> None:
        """Have a machine be there, under the provider's number."""
        made = self.folder / "dot" / "machines" / name / "virtualbox" / "id"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(number)
        says = SAYS.format(name=name, dev=dev, key=key, address=PLAN["machines"][name]["address"])
        (self.folder / f"{name}.says").write_text(says)

    def is_up(self, *names: str) -> None:
        """Have only these machines be up."""
        stanzas = (STANZA.format(name=name, port=PORT + NAMES.index(name)) for name in names)
        (self.folder / "ssh-config").write_text("".join(stanzas))

    def contacts(self) -> list[str]:
        """Name the machines that were asked, in order."""
        return [
            words[1] for line in (self.folder / "asked").read_text().splitlines() if (words := line.split())[0] == "ssh"
        ]

    def known_hosts(self) -> list[str]:
        return (self.folder / "dot" / "podnet" / "known_hosts").read_text().splitlines()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put it in the place of Vagrant; all machines are up."""
    program = tmp_path / "vagrant"
    program.write_text(FAKE.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", str(tmp_path / "dot"))
    fake = Fake(tmp_path)
    for name in NAMES:
        fake.is_made(name, "first")
    fake.is_up(*NAMES)
    return fake


def hosts() -> dict[str, dict[str, Any]]:
    """Read the inventory as pyinfra does."""
    nodes, group = runpy.run_path(str(ROOT / "inventories" / "vagrant.py"))["nodes"]
    return {name: {**group, **data} for name, data in nodes}


@pytest.mark.usefixtures("fake")
def test_the_inventory_is_a_cluster_with_the_plans_addresses() -> None:
    """Uplinks are called as the machines say, since boxes differ in that."""
    cluster = inventory.read(hosts())
    assert {node.name: str(node.address) for node in cluster.nodes} == {
        name: machine["address"] for name, machine in PLAN["machines"].items()
    }
    assert {node.uplink for node in cluster.nodes} == {"enp0s8"}
    assert cluster.underlay_mtu == PLAN["underlay_mtu"]


def test_the_vagrantfile_names_no_address() -> None:
    """Nor a machine: all that stands in the plan, which it reads."""
    text = (ROOT / "Vagrantfile").read_text()
    assert not ADDRESS.search(text)
    assert [name for name in NAMES if name in text] == []
    assert '"inventories", "vagrant.json"' in text
    assert vagrant.plan_file() == ROOT / "inventories" / "vagrant.json"


@pytest.mark.usefixtures("fake")
def test_vagrants_word_is_taken_for_all_but_host_keys() -> None:
    """Vagrant says to check none."""
    for number, data in enumerate(hosts().values()):
        assert (data["ssh_hostname"], data["ssh_port"], data["ssh_user"]) == ("127.0.0.1", PORT + number, "vagrant")
        assert data["ssh_key"] == f"/a folder/{NAMES[number]}/private_key"
        assert data["ssh_strict_host_key_checking"] == "yes"
        assert data["_sudo"] is True


def test_host_keys_are_fetched_once(fake: Fake) -> None:
    """At the first contact; then the note has the word, not the machine."""
    hosts()
    fake.is_made(NAMES[0], "first", key="another")
    hosts()
    assert fake.contacts() == NAMES
    assert fake.known_hosts()[:2] == ["[127.0.0.1]:2200 ssh-rsa AAAArsa", "[127.0.0.1]:2200 ssh-ed25519 AAAAone"]


def test_a_machine_that_was_made_anew_is_asked_anew(fake: Fake) -> None:
    """The provider has another number for it, so nobody has replaced it behind Vagrant's back."""
    hosts()
    fake.is_made(NAMES[0], "second", dev="eth1", key="two")
    assert hosts()[NAMES[0]]["uplink"] == "eth1"
    assert fake.contacts() == [*NAMES, NAMES[0]]
    assert fake.known_hosts()[1] == "[127.0.0.1]:2200 ssh-ed25519 AAAAtwo"


def test_port_22_is_not_written_in_known_hosts() -> None:
    """OpenSSH and paramiko look there for the bare address."""
    noted = vagrant.Noted("first", "eth1", ["ssh-ed25519 AAAA"])
    assert vagrant.known({"hostname": "192.0.2.1", "port": "22"}, noted) == "192.0.2.1 ssh-ed25519 AAAA\n"


def test_a_machine_that_is_not_up_is_named(fake: Fake) -> None:
    """And nobody is contacted."""
    fake.is_up(*NAMES[:-1])
    with pytest.raises(InventoryError, match=f"^{NAMES[-1]}: .* run `vagrant up`"):
        hosts()
    assert fake.contacts() == []


def test_a_machine_without_its_address_is_named(fake: Fake) -> None:
    """A box whose network Vagrant could not configure."""
    (fake.folder / f"{NAMES[1]}.says").write_text("ssh-ed25519 AAAA root@box\n")
    with pytest.raises(InventoryError, match=f"^{NAMES[1]}: no device has 192.168.56.12; run `vagrant reload"):
        hosts()


def test_where_vagrant_is_missing_the_inventory_says_so(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence."""
    monkeypatch.setenv("PATH", str(fake.folder / "dot"))
    with pytest.raises(InventoryError, match="there is no `vagrant` on the PATH"):
        hosts()


@pytest.mark.parametrize("name", ["packages-vagrant.txt", "packages-vagrant-test.txt"])
def test_the_readme_names_the_packages_of(name: str) -> None:
    """Nothing is installed unannounced."""
    readme = (ROOT / "README.md").read_text()
    packages = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert len(packages) > 1
    assert [package for package in packages if f"`{package}`" not in readme] == []
