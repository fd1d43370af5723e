"""Room in the kernel's neighbour table for everybody on the host's segment: see docs/scale.md."""

from podnet.operations import sysctls

sysctls.thresholds()
