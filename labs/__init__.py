"""Machines to try podnet on: containers with a systemd, an sshd and a network namespace each, on this machine."""
