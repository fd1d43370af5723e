"""Pods stand on the underlay's wire under their node's MAC: see podnet/modes/ipvlan.py."""

from podnet.modes import ipvlan
from podnet.operations import node

node.apply(ipvlan)
