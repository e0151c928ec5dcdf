# Needs Python 3.11, 3.12 or 3.13 and make, nothing else. `make` alone lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
# The newest of the interpreters that the locked wheels are made for.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1; then echo $$p; break; fi; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help setup setup-dev demo test lint format types dbt dev ci lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime ## create .venv with the locked dependencies

setup-dev: $(VENV)/.dev ## the same with what tests and linters need

demo: setup ## audit a simulated company whose leaks are known
	$(BIN)/leakage demo

test: setup-dev ## run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: setup-dev ## ruff and sqlfluff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/sqlfluff lint --processes 2 dbt_project/models

format: setup-dev ## let ruff and sqlfluff mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix --processes 2 dbt_project/models

types: setup-dev ## mypy --strict
	$(BIN)/mypy

dbt: setup ## parse the dbt project
	$(BIN)/dbt parse --project-dir dbt_project --profiles-dir dbt_project

dev: setup ## open the Dagster UI
	$(BIN)/leakage dev

ci: ## what .ci/run does
	bash .ci/run

lock: ## pin every dependency anew, with hashes, for every platform (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --extra build pyproject.toml --output-file requirements.lock --upgrade
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --extra build --extra dev --constraint requirements.lock pyproject.toml \
		--output-file requirements-dev.lock --upgrade

clean: ## remove .venv and caches; LEAKAGE_HOME stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dbt_project/target

# A stamp is written last, so an installation that broke off is made again and a whole one is not.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@
