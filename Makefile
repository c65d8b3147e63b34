# make demo, make test: the first run installs what is missing; see CONTRIBUTING.md.

PYTHON ?= python3
JOBS ?= 2
TESTS ?= tests
BIN := $(CURDIR)/.venv/bin
# Root's rights, which links and namespaces need, without leaving root's bytecode in another user's tree.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env PYTHONDONTWRITEBYTECODE=1)
INSTALLED := .venv/installed-$(shell cat requirements.txt setup.cfg setup.py pyproject.toml | sha256sum | cut -c1-16)

# The kernel of the virtual machines in tests/kernel, and that of guests.
VIFPLUG_TEST_KERNEL ?= $(CURDIR)/.kernel
VIFPLUG_TEST_GUEST ?= $(CURDIR)/.guest

# The other releases of Debian that `make test-long` runs on.
RELEASES ?= $(filter-out $(shell . /etc/os-release && echo "$$VERSION_CODENAME"),bookworm trixie)

.PHONY: demo demo-guests test test-long lint types imports unit bench bench-compare reliability sample-config clean packages-demo packages-test kernel guest
.NOTPARALLEL:
export PYTHON VIFPLUG_TEST_KERNEL VIFPLUG_TEST_GUEST

demo: packages-demo $(INSTALLED)
	@$(AS_ROOT) $(BIN)/vifplug demo

# pytest last: its closing line is the result.
test: packages-test lint types imports unit

unit: packages-test kernel guest $(INSTALLED)
	$(AS_ROOT) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup --no-loadscope-reorder $(TESTS)

# What takes too long for every change: tests of minutes, the laws on 2000 examples each, and everything on the other
# releases of Debian.
test-long: packages-test kernel guest $(INSTALLED)
	@tools/debian-packages long
	$(AS_ROOT) VIFPLUG_TEST_LONG=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup -m long
	$(AS_ROOT) VIFPLUG_TEST_EXAMPLES=2000 $(BIN)/python -m pytest --numprocesses $(JOBS) tests/property
	@for release in $(RELEASES); do tools/debian-release "$$release" 'make demo && make test' || exit; done

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

# The results are those of a machine that does nothing else.
bench: packages-test $(INSTALLED)
	@for name in verbs 'verbs --real --ports 0 --batch' command_start ovs_plug resolve pools; do \
		$(AS_ROOT) $(BIN)/python benchmarks/$${name%% *}.py $$(echo "$$name " | cut -d' ' -f2-) || exit; done

# Every proof of doc/reliability.md, at every place: an hour.
reliability: packages-test kernel guest $(INSTALLED)
	@for what in '' --failing --looks --events; do $(AS_ROOT) $(BIN)/python reliability/matrix.py $$what || exit; done
	@$(AS_ROOT) $(BIN)/python reliability/disasters.py
	@$(AS_ROOT) $(BIN)/python reliability/power.py
	@$(BIN)/python -m reliability.model
	@$(AS_ROOT) $(BIN)/python -m reliability.laws
	@$(AS_ROOT) $(BIN)/python reliability/soak.py
	@$(AS_ROOT) $(BIN)/python reliability/page.py

# make bench-compare REV=HEAD~1
bench-compare: packages-test $(INSTALLED)
	@$(AS_ROOT) $(BIN)/python benchmarks/compare.py $(REV)

sample-config: $(INSTALLED)
	$(BIN)/oslo-config-generator --config-file etc/vifplug/vifplug-config-generator.conf

demo-guests: packages-demo guest $(INSTALLED)
	@tools/debian-packages build demo guests
	@$(AS_ROOT) $(BIN)/vifplug demo --guests "$(VIFPLUG_TEST_GUEST)"

packages-demo:
	@tools/debian-packages build demo

packages-test:
	@tools/debian-packages build demo test

kernel: packages-test
	@tools/debian-kernel "$(VIFPLUG_TEST_KERNEL)"
	@tools/debian-qemu "$(VIFPLUG_TEST_KERNEL)"

guest:
	@tools/debian-guest "$(VIFPLUG_TEST_GUEST)"

# The name has a digest of all that decides what is in it: another digest, another installation.
$(INSTALLED): | packages-demo
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "vifplug needs Python 3.11 or later and $(PYTHON) is older: name another, as in make test PYTHON=python3.12" >&2; \
	    exit 1; }
	rm -f .venv/installed-*
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

GENERATED := .venv .kernel .guest build dist examples/*/build examples/*/*.egg-info .eggs vifplug.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
clean:
	rm -rf $(GENERATED) 2>/dev/null || sudo rm -rf $(GENERATED)
	find . -name __pycache__ -prune -exec rm -rf {} +
