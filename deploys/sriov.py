"""Pods have NICs of their own, virtual functions for example: see podnet/modes/sriov.py."""

from podnet.modes import sriov
from podnet.operations import node

node.apply(sriov)
