"""Between pyinfra's inventory and ours: the check before any host is contacted.

pyinfra reads the inventory, connects, and only then runs deploy files; it has no hook in between. A project's
`config.py` is run before all that, and says:

    from pyinfra import state
    from podnet import preflight

    preflight.before_connecting(state)
"""

import json
import runpy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import click
from pyinfra.api import Inventory, State
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.host import HostData

from podnet import inventory as ours
from podnet import modes, net_conf
from podnet.cluster import Cluster
from podnet.errors import ClusterError
from podnet.inventory import Field
from podnet.marks import FIRST, Marks
from podnet.modes import Mode
from podnet.operations import ending
from podnet.state import State as Wanted

TEARDOWN = "teardown.py"
"""How a deploy is called that takes away, and does nothing else."""


def before_connecting(state: State) -> None:
    """Have pyinfra refuse a bad inventory before it contacts anybody. Inventories without podnet's data pass.

    For a teardown, a deploy that is called so, it must only say whose things are to go.
    Such a run also ends with a line for each host that has failed (podnet.operations.ending). An inventory's file is
    run once more for it, since pyinfra forgets which hosts were listed twice.
    """
    init = state.init

    def checked(inventory: Inventory, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # pyinfra's own arguments
        # Only the command line calls this: importing it elsewhere would patch the whole process.
        from pyinfra_cli.exceptions import CliError  # noqa: PLC0415  # see above

        try:
            _refuse_doubles()
            if _only_takes_away():
                for host in inventory:
                    marks(host.name, host.data)
                    cut_off(host.name, host.data)
            elif ours.describes_a_cluster(data(inventory)):
                cluster(inventory)
        except InventoryError as e:
            raise CliError(str(e)) from e
        with measured_once(inventory):
            init(inventory, *args, **kwargs)
        ending.tell_of(state)

    state.init = checked  # type: ignore[method-assign]  # on this one object; see the module's docstring


@contextmanager
def measured_once(inventory: Inventory) -> Iterator[None]:
    """Have pyinfra pad all hosts' names to the longest one in time that is linear in the hosts.

    Each host looks through its inventory for that name when it is initialized, and for nothing else: of 5,000 hosts
    that was a quarter of an apply to one of them. Meanwhile the longest one is all that it finds there.
    """
    longest: Any = [max(inventory, key=lambda host: len(host.name))] if len(inventory) else []
    for host in inventory:
        host.inventory = longest
    try:
        yield
    finally:
        for host in inventory:
            host.inventory = inventory


@cache
def cluster(inventory: Inventory) -> Cluster:
    """Return the cluster that all hosts of the inventory make, `--limit` or not. InventoryError if it cannot work."""
    try:
        return ours.read(data(inventory))
    except ClusterError as e:
        raise InventoryError(str(e)) from e


def wanted(mode: Mode, cluster: Cluster, name: str) -> Wanted:
    """Compute what a host should hold. InventoryError if the mode cannot be had with this inventory."""
    try:
        return modes.wanted(mode, cluster, cluster.node(name))
    except ClusterError as e:
        raise InventoryError(str(e)) from e


def marks(name: str, data: HostData) -> Marks | None:
    """Return the marks of the cluster that a host's data names, by `vni` or in `net_conf`; InventoryError if by none.

    Nothing else is looked at: what cannot be applied can still be taken away. None if the file would have to say it,
    and cannot be read.
    """
    number = Field(name, "vni", data.get("vni"))
    try:
        said = net_conf.vni(_loaded(name, data.get("net_conf")))
    except InventoryError:
        if number.value is None:
            return None
        said = None
    try:
        if said is not None:
            return Marks(ours.vni(Field(name, "net_conf: Backend.VNI", said)))
        return FIRST if number.value is None else Marks(ours.vni(number))
    except ClusterError as e:
        raise InventoryError(str(e)) from e


def cut_off(name: str, data: HostData) -> bool:
    """Return whether containers of others' may lose their network on this host; InventoryError if that is no truth."""
    try:
        return ours.cut_off(Field(name, "cut_off", data.get("cut_off", False)))
    except ClusterError as e:
        raise InventoryError(str(e)) from e


@cache
def data(inventory: Inventory) -> dict[str, dict[str, object]]:
    """Collect what hosts and their groups say about our fields."""
    fields = (*ours.HOST_FIELDS, *ours.GROUP_FIELDS)
    # pyinfra goes through all groups for each value that it is asked for; for all of a host's at once only once.
    read = {host.name: host.data.dict() for host in inventory}  # type: ignore[no-untyped-call]  # pyinfra's own
    said = {name: {field: given[field] for field in fields if field in given} for name, given in read.items()}
    for name, given in said.items():
        if "net_conf" in given:
            given["net_conf"] = _loaded(name, given["net_conf"])
    return said


def _loaded(name: str, said: object) -> object:
    """Read flannel's net-conf.json where its path is given, from where the command runs, as pyinfra takes paths."""
    if not isinstance(said, str | Path):
        return said
    try:
        return json.loads(Path(said).read_text())
    except OSError as e:
        raise InventoryError(
            f"{name}: `net_conf` is {str(said)!r}, which cannot be read: {e.strerror}; give its path from where you are"
        ) from e
    except ValueError as e:  # no JSON, or no UTF-8
        raise InventoryError(f"{name}: `net_conf` is {str(said)!r}, which is no JSON: {e}") from e


def _only_takes_away() -> bool:
    """Say whether nothing is run but a teardown, which needs to know of an inventory whose things to take."""
    context = click.get_current_context(silent=True)
    deploys = (context.params.get("operations") if context else None) or ()
    return {Path(deploy).name for deploy in deploys} == {TEARDOWN}


def _refuse_doubles() -> None:
    """Refuse a host that a group lists twice: pyinfra would silently mix the two entries' data into one host."""
    context = click.get_current_context(silent=True)
    path = context.params.get("inventory") if context else None
    if not path or not Path(path).is_file():
        return
    for group, value in runpy.run_path(path).items():
        hosts = value[0] if isinstance(value, tuple) and value else value
        if group.startswith("_") or not isinstance(hosts, list):
            continue
        names = Counter(host[0] if isinstance(host, tuple) else host for host in hosts)
        for name, times in names.items():
            if times > 1:
                raise InventoryError(
                    f"{name}: `name` is given to {times} hosts of the group {group}; name each host once"
                )
