# One command for each thing one does here. Each makes its own .venv first, from pinned, hashed
# requirements; a second run finds the stamp and starts at once.

PYTHON ?= python3
UV ?= uv
ARGS ?=
SEEDS ?= 300
MINUTES ?= 10

VENV := .venv
BIN := $(VENV)/bin
DIALECT := .venv-dialect
REQUIREMENTS := deploy/requirements

.DEFAULT_GOAL := help
.PHONY: help demo test test-dialect test-ways lint lint-aws bench cost emulate races simulate mutants chaos venv lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## the whole exchange on this machine: a worker killed, the whole history proved (ARGS=...)
	$(BIN)/parity demo $(ARGS)

test: $(VENV)/dev.stamp ## every test, against real PostgreSQL and Kafka (ARGS="-k refund -x")
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-dialect: $(VENV)/dev.stamp $(DIALECT)/dialect.stamp ## integration tests through a proxy that speaks DSQL's dialect (ARGS=...)
	$(BIN)/python -m tests.dialect $(DIALECT)/bin/python $(ARGS)

test-ways: $(VENV)/dev.stamp ## integration tests in steps, and where every third commit is refused (ARGS=...)
	$(BIN)/python -m tests.ways steps $(ARGS)
	$(BIN)/python -m tests.ways conflicts $(ARGS)

lint: $(VENV)/dev.stamp ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-aws: $(VENV)/cfn.stamp ## the templates of deploy/aws, by AWS's linter
	$(VENV)/cfn/bin/cfn-lint -- deploy/aws/*.yaml

bench: $(VENV)/dev.stamp ## orders/s and waits on this machine, three ways (ARGS=--quick)
	$(BIN)/python -m tests.bench $(ARGS)

cost: $(VENV)/dev.stamp ## what an order costs to write on DSQL, by AWS's formula (ARGS=...)
	$(BIN)/python -m tests.bench.cost $(ARGS)

emulate: $(VENV)/dev.stamp ## lanes on a database as far away as a DSQL cluster: an emulation (ARGS=...)
	$(BIN)/python -m tests.bench.emulation $(ARGS)

races: $(VENV)/dev.stamp ## what lost races cost each of sixteen lanes, in virtual time (ARGS=...)
	$(BIN)/python -m tests.bench.races $(ARGS)

simulate: $(VENV)/dev.stamp ## the worker's own code under seeded faults, in virtual time (SEEDS=300, or SEED=7)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

mutants: $(VENV)/dev.stamp ## the shipped code, broken in every known way: all must be noticed (ARGS="-k name", or --list)
	$(BIN)/python -m tests.mutants $(ARGS)

chaos: $(VENV)/dev.stamp ## real faults on real parts under load, then a full replay (MINUTES=10, ARGS="--seed 7")
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

venv: $(VENV)/dev.stamp ## .venv with everything a developer needs

lock: ## pin the requirements anew (needs uv)
	$(UV) pip compile $(LOCK) --extra dev --extra fast $(REQUIREMENTS)/build.in -o $(REQUIREMENTS)/dev.txt
	$(UV) pip compile $(LOCK) --extra test --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/test.txt
	$(UV) pip compile $(LOCK) --extra demo --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/demo.txt
	$(UV) pip compile $(LOCK) --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/run.txt
	$(UV) pip compile $(COMPILE) $(REQUIREMENTS)/cfn.in -o $(REQUIREMENTS)/cfn.txt
	$(UV) pip compile $(COMPILE) --no-deps $(REQUIREMENTS)/dialect.in -o $(REQUIREMENTS)/dialect.txt

clean: ## remove what the above made
	rm -rf $(VENV) $(DIALECT) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One resolution for every supported system and Python; no header, no registry, no path in the result.
COMPILE := --quiet --upgrade --universal --python-version 3.11 --no-build --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
LOCK := pyproject.toml $(COMPILE)
# The smaller sets take their versions from the largest.
SAME := -c $(REQUIREMENTS)/dev.txt

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Whoever has the developer's set has the demo's too.
$(VENV)/demo.stamp: $(REQUIREMENTS)/demo.txt pyproject.toml | $(VENV)/bin/python
	@test $(VENV)/dev.stamp -nt $(REQUIREMENTS)/dev.txt || { echo "installing the demo into $(VENV) (once)"; \
	  $(PIP) --require-hashes -r $(REQUIREMENTS)/demo.txt; }
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(REQUIREMENTS)/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the developer's tools into $(VENV) (once)"
	$(PIP) --require-hashes -r $(REQUIREMENTS)/dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# Apart from the developer's set, whose botocore it must not touch.
$(VENV)/cfn.stamp: $(REQUIREMENTS)/cfn.txt | $(VENV)/bin/python
	@echo "installing AWS's linter of templates into $(VENV)/cfn (once)"
	$(PYTHON) -m venv $(VENV)/cfn
	$(VENV)/cfn/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes \
	  -r $(REQUIREMENTS)/cfn.txt
	@touch $@

# An environment of its own, without what the proxy alone does not need: it would pin botocore.
$(DIALECT)/dialect.stamp: $(REQUIREMENTS)/dialect.txt
	$(PYTHON) -m venv $(DIALECT)
	$(DIALECT)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@
