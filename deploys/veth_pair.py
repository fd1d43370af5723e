"""The two pods of a host talk through one cable: see podnet/modes/veth_pair.py."""

from podnet.modes import veth_pair
from podnet.operations import node

node.apply(veth_pair)
