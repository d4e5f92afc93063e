# One command per task. Each first creates .venv from pinned, hashed requirements. A second run finds
# the stamp and starts at once.

PYTHON ?= python3
UV ?= uv
ARGS ?=
SEEDS ?= 300
MINUTES ?= 10
SECONDS ?= 20

VENV := .venv
BIN := $(VENV)/bin
DIALECT := .venv-dialect
REQUIREMENTS := deploy/requirements

.DEFAULT_GOAL := help
.PHONY: help demo test test-dialect test-ways lint lint-aws tails bench cost emulate heavy races simulate mutants chaos hostile venv lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## play a whole exchange here, kill a worker, prove the history (ARGS=...)
	$(BIN)/parity demo $(ARGS)

test: $(VENV)/dev.stamp ## run every test, against real PostgreSQL and Kafka (ARGS="-k refund -x")
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-dialect: $(VENV)/dev.stamp $(DIALECT)/dialect.stamp ## run integration tests through a proxy that speaks DSQL's dialect (ARGS=...)
	$(BIN)/python -m tests.dialect $(DIALECT)/bin/python $(ARGS)

test-ways: $(VENV)/dev.stamp ## run integration tests in steps, and with every third commit refused (ARGS=...)
	$(BIN)/python -m tests.ways steps $(ARGS)
	$(BIN)/python -m tests.ways conflicts $(ARGS)

lint: $(VENV)/dev.stamp ## check format, lint, types, layers, writing rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.style

tails: $(VENV)/dev.stamp ## measure functions, classes, tests and prose (ARGS="--of ../other" compares)
	$(BIN)/python -m tests.style.tails $(ARGS)

lint-aws: $(VENV)/cfn.stamp ## check the templates of deploy/aws with AWS's linter
	$(VENV)/cfn/bin/cfn-lint -- deploy/aws/*.yaml

bench: $(VENV)/dev.stamp ## measure orders/s and latency on this machine, three ways (ARGS=--quick)
	$(BIN)/python -m tests.bench $(ARGS)

cost: $(VENV)/dev.stamp ## compute what an order costs to write on DSQL, by AWS's formula (ARGS=...)
	$(BIN)/python -m tests.bench.cost $(ARGS)

emulate: $(VENV)/dev.stamp ## emulate lanes on a database as far away as a DSQL cluster (ARGS=...)
	$(BIN)/python -m tests.bench.emulation $(ARGS)

heavy: $(VENV)/dev.stamp ## take over a million open orders, pester a worker, audit, and report its event loop (ARGS="--orders 100000")
	$(BIN)/python -m tests.bench.heavy $(ARGS)

races: $(VENV)/dev.stamp ## measure what lost races cost each of 16 lanes, in virtual time (ARGS=...)
	$(BIN)/python -m tests.bench.races $(ARGS)

simulate: $(VENV)/dev.stamp ## run the worker's own code under seeded faults, in virtual time (SEEDS=300, or SEED=7)
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

mutants: $(VENV)/dev.stamp ## break the shipped code in every known way, and require a test to notice (ARGS="-k name", or --list)
	$(BIN)/python -m tests.mutants $(ARGS)

chaos: $(VENV)/dev.stamp ## strike real servers under load, then replay everything (MINUTES=10, ARGS="--seed 7")
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

hostile: $(VENV)/dev.stamp ## attack two workers in every way, and time innocent orders (SECONDS=20, ARGS="--only sweep")
	$(BIN)/python -m tests.hostile --seconds $(SECONDS) $(ARGS)

venv: $(VENV)/dev.stamp ## create .venv with everything a developer needs

lock: ## pin the requirements again (needs uv)
	$(UV) pip compile $(LOCK) --extra dev --extra fast $(REQUIREMENTS)/build.in -o $(REQUIREMENTS)/dev.txt
	$(UV) pip compile $(LOCK) --extra test --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/test.txt
	$(UV) pip compile $(LOCK) --extra demo --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/demo.txt
	$(UV) pip compile $(LOCK) --extra fast $(REQUIREMENTS)/build.in $(SAME) -o $(REQUIREMENTS)/run.txt
	$(UV) pip compile $(COMPILE) $(REQUIREMENTS)/cfn.in -o $(REQUIREMENTS)/cfn.txt
	$(UV) pip compile $(COMPILE) --no-deps $(REQUIREMENTS)/dialect.in -o $(REQUIREMENTS)/dialect.txt

clean: ## remove everything that these commands created
	rm -rf $(VENV) $(DIALECT) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One resolution for every supported system and Python. The result has no header, registry or path.
COMPILE := --quiet --upgrade --universal --python-version 3.11 --no-build --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
LOCK := pyproject.toml $(COMPILE)
# The smaller sets take their versions from the largest.
SAME := -c $(REQUIREMENTS)/dev.txt

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The developer's set contains the demo's.
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

# Separate from the developer's set, whose botocore it must not change.
$(VENV)/cfn.stamp: $(REQUIREMENTS)/cfn.txt | $(VENV)/bin/python
	@echo "installing AWS's template linter into $(VENV)/cfn (once)"
	$(PYTHON) -m venv $(VENV)/cfn
	$(VENV)/cfn/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes \
	  -r $(REQUIREMENTS)/cfn.txt
	@touch $@

# A separate environment without optional dependencies, since the proxy's full set would pin botocore.
$(DIALECT)/dialect.stamp: $(REQUIREMENTS)/dialect.txt
	$(PYTHON) -m venv $(DIALECT)
	$(DIALECT)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@
