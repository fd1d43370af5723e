"""The forwarding databases of vxlan devices: `bridge fdb`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.fdb import Fdb
from podnet.operations.writing import exactly
from podnet.state import FdbEntry


@operation()
def fdb(dev: str, want: Iterable[FdbEntry]) -> Generator[PyinfraCommand]:
    """
    Make the entries of a vxlan device that name another host exactly `want`.

    + dev: name of the vxlan device
    + want: the entries, all of that device

    **Example:**

    .. code:: python

        from podnet.operations.fdb import fdb
        from podnet.state import FdbEntry

        entry = FdbEntry("flannel.1", "66:00:00:00:00:02", "192.168.56.12")
        fdb(name="Where the peer's VTEP is", dev="flannel.1", want=[entry])
    """
    have = host.get_fact(Fdb)
    mine = have if have is None else [item for item in have if item.dev == dev]
    yield from exactly("fdb", want, mine)
