"""Pods stand on the underlay's wire with MACs of their own: see podnet/modes/macvlan.py."""

from podnet.modes import macvlan
from podnet.operations import node

node.apply(macvlan)
