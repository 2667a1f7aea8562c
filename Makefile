# Every command of the project. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: setup
setup: .venv/.ready ## the virtual environment .venv, with `headroom` in it
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "ready: headroom is $(CURDIR)/$(BIN)/headroom; source $(BIN)/activate makes it a command of this shell",:)

# A venv is moved into place by its stamp alone: an interrupted install is started again, never taken for a whole one.
.venv/.ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set PYTHON=python3.x" >&2; exit 1; }
	@echo "setting up .venv (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lock
lock: setup ## resolve the requirements again and lock them with hashes
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml --group dev -o requirements-dev.txt
	@images/lock

.PHONY: test
test: setup scan-setup ## the tests that need no cluster: unit, program, formatter, linter, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n $(JOBS) --dist loadfile tests/unit tests/program -m "not cluster and not e2e and not engine"

.PHONY: scan-setup
scan-setup: .venv-scan/.ready

# The scanner pins libraries that contradict ours, so it lives alone.
.venv-scan/.ready: requirements-scan.txt
	@echo "setting up the manifest scanner (about a minute, once)"
	@test -x .venv-scan/bin/python || $(PYTHON) -m venv .venv-scan
	@.venv-scan/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-scan.txt
	@touch $@

.PHONY: up
up: setup ## deploy the `local` stack to the embedded cluster, and show what runs
	@$(BIN)/headroom local up
	@$(BIN)/headroom up --stack local
	@$(BIN)/headroom plan --stack local
	@$(BIN)/headroom local status

.PHONY: down
down: setup ## remove the embedded cluster and everything on it
	@$(BIN)/headroom local down

.PHONY: test-cluster
test-cluster: setup ## all stacks on the embedded cluster with fake nodes
	@$(BIN)/pytest -q tests/cluster -m "cluster and not slow"

# A cluster for each area: the platform of one is small enough for two cores, those of all together are not.
E2E_AREAS ?= stacks local images postgres reshard redis h2o inference runbook autoscaling
each_area = failed=; for area in $(E2E_AREAS); do $(BIN)/pytest -q tests/e2e/$$area -m "$(1)" || failed="$$failed $$area"; done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

.PHONY: e2e
e2e: setup ## real pods: a core of each component (Linux, root)
	@$(call each_area,e2e and not slow)

.PHONY: e2e-full
e2e-full: setup ## real pods: everything (tens of minutes)
	@$(call each_area,e2e)
	@$(BIN)/pytest -q tests/cluster -m "cluster and slow"

.PHONY: engine
engine: setup ## under the real Pulumi CLI, where it is on PATH
	@$(BIN)/pytest -q tests/engine -m engine

.PHONY: bench
bench: setup ## measure: make bench, or make bench AREA=plan
	@$(BIN)/python -m bench $(AREA)

.PHONY: dashboards
dashboards: setup ## write the dashboards' files anew from monitoring/panels.py
	@$(BIN)/python -m monitoring

.PHONY: fmt
fmt: setup ## format, and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## remove what make set up in this folder (never the cache, never a cluster)
	rm -rf .venv .venv-scan .mypy_cache .ruff_cache .pytest_cache .hypothesis
