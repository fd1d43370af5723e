"""Pods of one host talk on a switch of their own, and to no other host: see podnet/modes/bridge.py."""

from podnet.modes import bridge
from podnet.operations import node

node.apply(bridge)
