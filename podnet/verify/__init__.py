"""Proof from outside that a cluster's packets take the way they should: `pytest --hosts=...`."""
