"""The inventory's `cni_pods`: namespaces that the CNI plugins put beside podnet's pods: see docs/cni.md."""

from podnet.operations import cni

cni.apply()
