"""The nodes of whichever lab is up: start one with `podnet lab up`. Each lab has an inventory of its own, too."""

from podnet.labs import inventory

nodes = inventory.of_the_running_lab()
