"""Pods on different nodes talk through VXLAN: see podnet/modes/vxlan.py."""

from podnet.modes import vxlan
from podnet.operations import node

node.apply(vxlan)
