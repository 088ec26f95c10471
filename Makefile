# `make run` and `make test` do all the set-up by themselves. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin/python
ARGS ?=
ROOMS := ipc_schemas boot sandbox monitor partitions/sdk world faults evidence console benchmarks
has_code = $(if $(shell find $(1) -name '*.py' -print -quit 2>/dev/null),$(1))
PRESENT = $(foreach room,$(ROOMS) tests,$(call has_code,$(room))) $(wildcard run_device.py)
IMAGES = $(foreach folder,$(filter-out partitions/sdk,$(patsubst %/,%,$(wildcard partitions/*/))),\
	$(call has_code,$(folder)))
export PYTHON

.PHONY: help setup run test lint format types contracts check bench coverage lock clean

help: ## what there is
	@sed -nE 's/^([a-z]+):[^#]*## (.*)$$/make \1\t\2/p' Makefile | expand -t 18
	@echo 'Pass options on with ARGS, e.g. make run ARGS="--days 2". Choose a Python with PYTHON=...'

setup: ## build .venv from requirements.lock (the others do it when needed)
	@.ci/set_up

run: setup ## run the device: boot, attack, verdict
	@$(PY) run_device.py $(ARGS)

test: setup ## run the tests
	@$(PY) -m pytest $(ARGS)

lint: setup ## ruff: lint and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: setup ## ruff: put the code in form, mend what can be mended
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .

types: setup ## mypy --strict, each partition image by itself as it is at run time
	@$(PY) -m mypy $(PRESENT)
	@for image in $(IMAGES); do echo "mypy $$image"; MYPYPATH="$$image" $(PY) -m mypy "$$image"; done

contracts: setup ## import-linter: who may import whom
	@$(PY) -m tests.tidy.contracts

check: lint types contracts ## lint, types and contracts

bench: setup ## the table of costs, each beside its peer
	@$(PY) -m benchmarks $(ARGS)

coverage: setup ## branch coverage of the trusted rooms, child processes included
	@rm -f .coverage .coverage.*
	@$(PY) -m coverage run -m pytest $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

lock: ## resolve requirements.lock anew (needs a network)
	@.ci/lock

clean: ## remove what the other targets made
	@rm -rf .venv .venv.lock build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
