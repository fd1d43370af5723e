"""Pods on one segment talk by plain routes, others through VXLAN: see podnet/modes/vxlan_direct_routing.py."""

from podnet.modes import vxlan_direct_routing
from podnet.operations import node

node.apply(vxlan_direct_routing)
