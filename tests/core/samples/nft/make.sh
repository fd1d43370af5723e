#!/bin/sh
# Makes the sample VERSION.json, what `nft -j -t list ruleset` prints of strangers.nft and of podnet's own tables and
# rules beside it, in a namespace that vanishes with it. Needs root. ROOT is a tree that holds the nft to be asked:
# 1.0.6 is that of Debian 12, 1.1.3 that of Debian 13.
#     unshare --net sh tests/core/samples/nft/make.sh ROOT VERSION
set -eu
cd "$(dirname "$0")"
nft="chroot $1 /usr/sbin/nft"
$nft -f - <strangers.nft
(cd ../../../.. && .venv/bin/python -m tests.core.test_firewall) | $nft -f -
$nft -j -t list ruleset >"$2.json"
