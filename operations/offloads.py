"""What devices leave to the hardware below them: `ethtool -K`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.offloads import Offloads
from podnet.operations.writing import exactly
from podnet.state import Offload


@operation()
def offloads(want: Iterable[Offload]) -> Generator[PyinfraCommand]:
    """
    Have devices leave checksums to the hardware below them, or not, as `want` says; all others stay as they are.

    + want: the devices, each on or off

    **Example:**

    .. code:: python

        from podnet.operations.offloads import offloads
        from podnet.state import Offload

        offloads(name="A NIC below that counts wrongly", want=[Offload("flannel.1", on=False)])
    """
    wanted = frozenset(want)
    have = host.get_fact(Offloads, devices=sorted(item.dev for item in wanted))
    yield from exactly("offloads", wanted, have)
