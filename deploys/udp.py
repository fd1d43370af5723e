"""Pods on different nodes talk through UDP, wrapped by the kernel: see podnet/modes/udp.py."""

from podnet.modes import udp
from podnet.operations import node

node.apply(udp)
