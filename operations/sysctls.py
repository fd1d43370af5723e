"""Kernel settings: files below /proc/sys."""

from collections.abc import Generator, Iterable

from pyinfra import host, inventory
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta

from podnet import preflight
from podnet import thresholds as room
from podnet.facts.sysctls import Sysctls
from podnet.operations.writing import Refusal, exactly, unread, write
from podnet.state import Sysctl


@operation()
def sysctls(want: Iterable[Sysctl]) -> Generator[PyinfraCommand]:
    """
    Give settings their wanted values, all by one process. What they were before is not noted down.

    + want: the settings, their paths with slashes (`net/ipv4/conf/flannel.1/rp_filter`)

    **Example:**

    .. code:: python

        from podnet.operations.sysctls import sysctls
        from podnet.state import Sysctl

        sysctls(name="Route packets", want=[Sysctl("net/ipv4/ip_forward", "1")])
    """
    wanted = {item.path: item for item in want}
    have = host.get_fact(Sysctls, paths=sorted(wanted))
    yield from exactly("sysctls", wanted.values(), have)


def thresholds() -> OperationMeta:
    """
    Give the kernel's neighbour table room for all whom this host talks to on its segment, by the inventory's size.

    One remote command where there is room, two where it is made, which lasts over boots. Larger thresholds stay.

    **Example:**

    .. code:: python

        from podnet.operations import sysctls

        sysctls.thresholds()
    """
    cluster = preflight.cluster(inventory)
    return at_least(name="podnet: thresholds", want=room.wanted(cluster, cluster.node(host.name)))


@operation()
def at_least(want: Iterable[Sysctl]) -> Generator[PyinfraCommand]:
    """
    Raise thresholds of the neighbour table that are smaller than these, now and at each boot.

    + want: net/ipv4/neigh/default/gc_thresh1, 2 and 3, or some of them; others are refused

    **Example:**

    .. code:: python

        from podnet.operations.sysctls import at_least
        from podnet.state import Sysctl

        folder = "net/ipv4/neigh/default"
        at_least(want=[Sysctl(f"{folder}/gc_thresh{number}", "8192") for number in (1, 2, 3)])
    """
    want = list(want)
    have = host.get_fact(Sysctls, paths=sorted(room.KERNELS_OWN))
    if have is None:
        yield unread()
        return
    if reason := room.strange(want) or room.lacking(have):
        yield Refusal(f"nothing was changed: {reason}")
        return
    found = room.raised(want, have)
    said = " ".join(f"{item.path.rpartition('/')[2]}={item.value}" for item in found)
    yield from write(room.sections(found) if found else [], said)
