"""The kernel of every node holds what the inventory and the mode say: nothing missing, nothing wrong, nothing extra."""

import pytest

from podnet import boot
from podnet.cluster import Cluster, Node
from podnet.differences import differences
from podnet.keys import resolve
from podnet.obstacles import obstacles
from podnet.state import State

pytestmark = pytest.mark.of_ours


@pytest.mark.scenario(1)
def test_kernel_holds_exactly_the_computed_state(
    node: Node, cluster: Cluster, want: dict[str, State], have: State, told: dict[str, str]
) -> None:
    """Everything of ours, from links to routes, on the host and in its pods, is as computed.

    The key of a peer that `--hosts` does not name is believed.
    """
    here = boot.fitted(resolve(want[node.name], told, have), cluster, node, have)
    found = differences(here, have, cluster.marks)
    if found:
        pytest.fail("\n".join(f"{node.name}: {sentence}" for sentence in found), pytrace=False)


def test_host_is_as_the_inventory_says(node: Node, cluster: Cluster, want: dict[str, State], have: State) -> None:
    """The uplink holds the node's address and carries the underlay's MTU, and no stranger is in our place."""
    found = obstacles(want[node.name], have, cluster, node.name)
    if found:
        pytest.fail("\n".join(f"{node.name}: {sentence}" for sentence in found), pytrace=False)
