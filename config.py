"""pyinfra's settings for this project, read before the inventory."""

import logging

from pyinfra import config, state

from podnet import preflight

preflight.before_connecting(state)
# pyinfra's default, 20 hosts a core, makes large clusters wait in line; a connection costs it 3 ms and one file.
config.PARALLEL = 200
# pyinfra says in one line why it could not connect to a host; paramiko would add its traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
