"""Pods on one segment talk by plain routes, others through IPv4 in IPv4: see podnet/modes/ipip_direct_routing.py."""

from podnet.modes import ipip_direct_routing
from podnet.operations import node

node.apply(ipip_direct_routing)
