"""Virtual functions, and what their PFs impose on them: `ip link set PF vf N`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.vfs import Vfs
from podnet.operations.writing import exactly
from podnet.state import Vf


@operation()
def vfs(want: Iterable[Vf]) -> Generator[PyinfraCommand]:
    """
    Have PFs impose on their VFs what `want` says; VFs that it does not name stay as they are.

    + want: the VFs by their PCI addresses, which must be there; `pf` and `index` need not be given

    **Example:**

    .. code:: python

        from podnet.operations.vfs import vfs
        from podnet.state import Vf

        vfs(name="A VLAN for a VF", want=[Vf("0000:01:10.0", "0a:58:0a:f4:01:02", vlan=100)])
    """
    wanted = {item.nic: item for item in want}
    have = host.get_fact(Vfs)
    mine = have if have is None else [item for item in have if item.nic in wanted]
    yield from exactly("vfs", wanted.values(), mine)
