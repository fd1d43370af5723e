"""The machines of the Vagrantfile, as `vagrant ssh-config` says: start them with `vagrant up`.

    pyinfra -y inventories/vagrant.py deploys/vxlan.py
    pytest --hosts=node1,node2,node3 --inventory=inventories/vagrant.py

Addresses and pods stand in inventories/vagrant.json, which the Vagrantfile reads too.
"""

from podnet.labs import vagrant

nodes = vagrant.group()
