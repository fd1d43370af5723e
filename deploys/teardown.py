"""Take away all that podnet made on the hosts, and nothing else."""

from podnet.operations import node

node.teardown()
