"""What a lab has written down about itself is read back, or refused in a sentence if it is broken."""

from pathlib import Path

import pytest
from pyinfra.api.exceptions import InventoryError

from podnet.labs import inventory
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Shape and ports come back as they were."""
    home = Home(tmp_path / "net")
    home.path.mkdir()
    lab, ports = Lab("net", 2, 1, 9000), {"node1": 40001, "node2": 40002}
    home.save(lab, ports)
    assert home.load() == (lab, ports)


BROKEN = {
    "empty": b"",
    "truncated": b'{"hosts": 3, "segments": 1, "mtu": 15',
    "garbage": b"\x80\xff\x00",
    "no object": b"[3]",
    "no ports": b'{"hosts": 3, "segments": 1, "mtu": 1500}',
    "no number": b'{"hosts": "3", "segments": 1, "mtu": 1500, "ports": {}}',
    "no port": b'{"hosts": 3, "segments": 1, "mtu": 1500, "ports": {"node1": null}}',
    "out of range": b'{"hosts": 999, "segments": 1, "mtu": 1500, "ports": {}}',
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
