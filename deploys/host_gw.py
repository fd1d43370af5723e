"""Pods on different nodes of one segment talk by plain routes: see podnet/modes/host_gw.py."""

from podnet.modes import host_gw
from podnet.operations import node

node.apply(host_gw)
