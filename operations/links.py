"""Devices: `ip link`."""

from collections.abc import Generator, Iterable
from dataclasses import replace

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.batch import sections
from podnet.facts.links import Links
from podnet.marks import FIRST
from podnet.operations.writing import unread, write
from podnet.plan import plan, summary
from podnet.state import Device, Link, State


@operation()
def links(want: Iterable[Link], absent: Iterable[str] = ()) -> Generator[PyinfraCommand]:
    """
    Make devices as `want` says, and remove those named in `absent`; all others stay.

    + want: the devices, podnet.state.Bridge, Vxlan, Veth or Nic
    + absent: names of bridges, vxlan and veth devices that must not exist, whoever made them

    A device is made anew only where the kernel cannot change what is wrong with it (a vxlan device's VNI).

    **Example:**

    .. code:: python

        from podnet.operations.links import links
        from podnet.state import Bridge

        links(name="A switch for pods", want=[Bridge("cni0", 1450, "0a:58:0a:f4:01:01")], absent=["docker0"])
    """
    wanted, unwanted = frozenset(want), frozenset(absent)
    have = host.get_fact(Links)
    if have is None:
        yield unread()
        return
    names = {link.dev for link in wanted}
    mine = {link for link in have if link.dev in names}
    mine |= {replace(link, alias=FIRST.alias) for link in have if link.dev in unwanted and isinstance(link, Device)}
    todo = plan(State(links=wanted), State(links=frozenset(mine)))
    yield from write(sections(todo), summary(todo))
