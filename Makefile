# What a user runs. Every target first makes what it needs; nothing has to be installed by hand.

PYTEST = .venv/bin/pytest
PYINFRA = .venv/bin/pyinfra
LAB = .venv/bin/podnet lab
HOSTS = node1,node2,node3
# Python is started some thousand times: what it has compiled is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
# Most of the time is spent waiting for hosts. What takes longest begins first.
SIDE_BY_SIDE = --numprocesses 3 --dist loadfile --no-loadscope-reorder
DISRUPTIVE_ON_VMS = $(patsubst %,--deselect=tests/vms/test_%.py::test_every_disruptive_scenario_holds,alone sriov)
# What looks at one subject from all sides on containers, for a quarter of an hour: not what one runs after each change.
THOROUGH = disruptive docker docs equivalence faults firewall net_conf observe pods_cni podman reports safe scale \
	switching users
LESS = $(DISRUPTIVE_ON_VMS) $(THOROUGH:%=--ignore=tests/lab/test_%.py)
VALIDATED = if command -v vagrant; then $(PYTEST) tests/vagrant/test_validate.py; else \
	echo "no vagrant here: the Vagrantfile is not validated"; fi

test: BUT = $(LESS)
test: test-all  ## lint, types, core tests, `vagrant validate`, and every mode on labs of containers or VMs: half an hour

SLOW = addresses cni reboot traps verify_traffic
test-fast: setup lint  ## core tests, and on labs of containers every mode that they can have: four to six minutes
	$(PYTEST) tests/lab tests/core $(SIDE_BY_SIDE) $(LESS) $(SLOW:%=--ignore=tests/lab/test_%.py)

test-ci: BUT = --deselect=tests/vms/test_modes.py::test_it_is_there_again
test-ci: test-all  ## all tests, but on VMs those of modes that containers have: what CI has the time for

test-all: setup lint  ## all tests: an hour
	@./setup packages-vagrant.txt
	$(VALIDATED)
	$(PYTEST) tests/vms tests/lab tests/core $(SIDE_BY_SIDE) $(BUT)

check: setup lint  ## lint, types and core tests: no lab, under a minute
	$(PYTEST) tests/core

demo: setup  ## three hosts on this machine, VXLAN between them, and the proof
	$(LAB) up --hosts 3
	$(PYINFRA) -y inventories/lab.py deploys/vxlan.py
	$(PYTEST) --hosts=$(HOSTS) -q
	@echo "See how it works: $(LAB) exec node1 -- ip -d route show dev flannel.1 (docs/modes/vxlan.md goes on from there)"
	@echo "Break it: $(LAB) exec node2 -- ip link del flannel.1; then run the pytest and the pyinfra command above again"

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

vagrant-test: setup  ## make a box, and have the Vagrantfile's machines go from up to destroy, emulated: some minutes
	@./setup packages-vagrant.txt packages-vagrant-test.txt
	$(PYTEST) tests/vagrant --exitfirst --verbose --capture=no

vagrant-box: setup  ## make a box for libvirt of the labs' own recipe, and say how to use it
	@./setup packages-vagrant.txt packages-vagrant-test.txt
	@.venv/bin/python -m podnet.labs.box

bench: setup .bench/requirements.txt  ## converging, beside what others take, and throughput: writes docs/*-figures.md, 40 minutes
	.venv/bin/python -m benchmarks $(SIZES)

throughput: setup  ## its part about how fast pods talk in each mode: writes docs/throughput-figures.md, 12 minutes
	.venv/bin/python -m benchmarks.throughput

.bench/requirements.txt: benchmarks/requirements.txt
	rm -rf .bench
	python3 -m venv .bench
	.bench/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	cp benchmarks/requirements.txt $@

verify-bench: setup  ## what the verification costs at 3, 8 and 16 hosts: writes docs/verification-figures.md
	.venv/bin/python -m benchmarks.verify

fault-score: setup  ## break labs in every way of a list, and write what the verification detects to docs/faults.md: an hour
	.venv/bin/python -m tests.faults.score $(OPTIONS)

golden: setup  ## write the goldens anew; read the difference before you commit it
	.venv/bin/python -m tests.core.goldens

setup:
	@./setup

clean:  ## remove the lab and the virtual environment; the image stays for other clones
	if [ -x .venv/bin/podnet ]; then $(LAB) down; fi
	rm -rf .venv .bench

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

.PHONY: test test-all test-ci test-fast check demo lint vagrant-test vagrant-box throughput bench verify-bench fault-score golden setup clean help
