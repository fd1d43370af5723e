"""What a lab has written down about itself is read back, or refused in a sentence if it is broken."""

from pathlib import Path

import pytest
from pyinfra.api.exceptions import InventoryError

from podnet.labs import inventory
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import CONTAINERS, VMS, Lab


@pytest.mark.parametrize("kind", [CONTAINERS, VMS])
def test_what_was_saved_is_loaded(tmp_path: Path, kind: str) -> None:
    """Kind, shape and ports come back as they were."""
    home = Home(tmp_path / "net")
    home.path.mkdir()
    lab, ports = Lab("net", 2, 1, 9000, kind), {"node1": 40001, "node2": 40002}
    home.save(lab, ports)
    assert home.load() == (lab, ports)


BROKEN = {
    "empty": b"",
    "truncated": b'{"kind": "VMs", "hosts": 3, "segments": 1, "mtu": 15',
    "garbage": b"\x80\xff\x00",
    "no object": b"[3]",
    "no ports": b'{"kind": "VMs", "hosts": 3, "segments": 1, "mtu": 1500}',
    "no number": b'{"kind": "VMs", "hosts": "3", "segments": 1, "mtu": 1500, "ports": {}}',
    "no port": b'{"kind": "VMs", "hosts": 3, "segments": 1, "mtu": 1500, "ports": {"node1": null}}',
    "no such kind": b'{"kind": "sheep", "hosts": 3, "segments": 1, "mtu": 1500, "ports": {}}',
    "out of range": b'{"kind": "VMs", "hosts": 999, "segments": 1, "mtu": 1500, "ports": {}}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_lab_says_how_to_be_rid_of_it(tmp_path: Path, text: bytes) -> None:
    """Whatever stands in lab.json; pyinfra is told the same in its own way."""
    home = Home(tmp_path / "net")
    home.path.mkdir()
    (home.path / "lab.json").write_bytes(text)
    sentence = "net/lab.json is broken: `podnet lab down --name net` removes the lab$"
    with pytest.raises(LabError, match=sentence):
        home.load()
    with pytest.raises(InventoryError, match=sentence):
        inventory.group(str(home.path))
