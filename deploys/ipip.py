"""Pods on different nodes talk through IPv4 in IPv4: see podnet/modes/ipip.py."""

from podnet.modes import ipip
from podnet.operations import node

node.apply(ipip)
