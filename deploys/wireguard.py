"""Pods on different nodes talk through WireGuard, encrypted: see podnet/modes/wireguard.py."""

from podnet.modes import wireguard
from podnet.operations import node

node.apply(wireguard)
