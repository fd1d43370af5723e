"""Pods on different nodes talk as flannel's net-conf.json says: see podnet/net_conf.py."""

from podnet import net_conf
from podnet.operations import node

node.apply(net_conf)
