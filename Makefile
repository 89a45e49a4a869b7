# Everything runs from .venv, which is made when it is missing. `make` alone lists the targets.
#   PYTHON=python3.12   another interpreter than python3 (3.11 or newer)
#   ARGS="..."          passed on to what a target runs: make test ARGS="-k blend", make demo ARGS="--dataset DIR"

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
MODEL := rerank_plugin/models/default
# Collections for fitting and benchmarks: RERANK_DATA, else beside the checkout.
DATA := $(or $(RERANK_DATA),../shared/data)
# setuptools warns about editable installs of any project with folders at its root.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# What an environment is made of: a newer one of these installs again, anything else is instant.
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench model opensearch clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.dev ## everything for development into .venv (torch is large: minutes)

demo: $(VENV)/.demo ## load, enrich, retrieve, rerank, compare with BM25 (no torch, no server)
	$(BIN)/rerank demo $(ARGS)

test: $(VENV)/.dev ## the whole test suite; a real OpenSearch where Java 21 and Maven are
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/.dev ## ruff, ruff format, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## every benchmark at its small size: scorer, client, judge, indexer
	@set -e; for each in benchmarks/bench_*.py; do echo "== $$each"; $(BIN)/python "$$each" $(ARGS); done

model: $(VENV)/.dev ## make the shipped model folder again and fit its numbers (about 10 minutes)
	$(BIN)/rerank model export --out $(MODEL)
	$(BIN)/rerank model calibrate $(MODEL) --now 2026-01-01 $(foreach each,scifact stackexchange peps,--dataset $(DATA)/beir/$(each))
	$(BIN)/rerank model card $(MODEL) --write

opensearch: $(VENV)/.demo ## a local OpenSearch in the foreground; Ctrl-C stops it
	PYTHONPATH=tests $(BIN)/python -m harness.opensearch $(ARGS)

clean: ## remove the environment, caches and build leftovers
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache rerank-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed and '$(PYTHON)' is none; install one, or: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed; Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }

$(VENV)/.demo: $(PINS) | $(BIN)/python
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.demo $@
