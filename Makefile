# `make` lists the targets. Needs python3.11 and a package index; everything is installed into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
# A second index for torch, such as https://download.pytorch.org/whl/cpu: without it pip may fetch the CUDA build, which is large.
TORCH_INDEX ?=
# Words for pytest: two processes take 7 to 8 minutes on two cores, one takes 15. The order of files is that of tests/conftest.py.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

BIN := .venv/bin
PINS := .ci/constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Nothing is sent anywhere, and threads that wait do not take a core from those that compute.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
export MLFLOW_DISABLE_TELEMETRY := true
export DAGSTER_DISABLE_TELEMETRY := yes
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.PHONY: help install install-bench install-gateways demo demo-loop test test-all test-gpu ui lint base constraints licences clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf '  make %-15s %s\n' "$$name" "$$what"; done

install: .venv/.installed ## Make .venv with everything that the project needs (once; no network when up to date)

install-bench: .venv/.installed-bench ## Also install the peers that benches compare with

install-gateways: .venv/gateways/.installed ## Install the gateways that bench/gateway.py and bench/faults.py compare with

demo: install ## Take both example tasks through the whole pipeline: table, reports, packages
	@$(BIN)/pp demo

demo-loop: install ## Let a simulated shop learn by itself: 5,000 requests, feedback, trainings, promotions, a plot of it all
	@$(BIN)/python -m bench.loop $(LOOP_ARGS)

# Tests start hundreds of processes, which would each compile the product anew where the environment says to keep nothing compiled.
test test-all: export PYTHONDONTWRITEBYTECODE =

test: install ## Run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: install ## Run the slow tests and those with servers and a browser, too
	@$(BIN)/python -m pytest -m "not gpu" $(PYTEST_ARGS)

test-gpu: install ## Run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu tests/gpu

ui: install ## Start Dagster and MLflow on this machine and print their addresses
	@$(BIN)/pp ui

lint: install ## Run ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

base: install ## Train the shipped small language model again, into .pp/base; CORPUS=folder of the texts that its card names
	@$(BIN)/python -m bench.make_base --out .pp/base $(if $(CORPUS),--corpus '$(CORPUS)')

constraints: .venv/.installed-bench ## Write what is installed to .ci/constraints.txt
	@$(BIN)/python -m bench.licences --pins > $(PINS).new && mv $(PINS).new $(PINS)

licences: install ## List the licence of every distribution that the project needs
	@$(BIN)/python -m bench.licences

clean: ## Remove .venv and caches; asks before it touches results
	@rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@home="$${PP_HOME:-.pp}"; if [ -d "$$home" ]; then \
		read -r -p "Also delete all results under $$home? Type yes: " answer || true; \
		if [ "$$answer" = yes ]; then rm -rf -- "$$home"; else echo "kept $$home"; fi; fi

# The python that makes .venv is no prerequisite: its timestamp says nothing.
.venv/bin/python:
	@command -v $(PYTHON) > /dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or give PYTHON=path" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# torch first: it alone may come from another index. The stamp is written last, so that an install that broke off is done again.
.venv/.installed: pyproject.toml $(PINS) | .venv/bin/python
	@echo "Installing into .venv; the first time this takes minutes."
	@$(PIP) install --constraint $(PINS) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) install --constraint $(PINS) --editable '.[dev,postgres,examples]'
	@touch $@

.venv/.installed-bench: .venv/.installed
	@$(PIP) install --constraint $(PINS) --editable '.[dev,bench,postgres,clickhouse,examples]'
# These want other versions of what the project needs.
	@$(BIN)/python -m venv .venv/peers && .venv/peers/bin/python -m pip --quiet install inspect_ai==0.3.285 lm_eval==0.4.13 \
		dspy==3.4.1 optuna==5.0.0
	@touch $@

# An environment of their own: these want other versions of what the project needs. Releases of litellm around 1.107.0, one of which was
# tampered with, are left out. Beside them: wrk, faketime, postgresql and postgresql-15-cron, where the system has them.
.venv/gateways/.installed: | .venv/bin/python
	@$(BIN)/python -m venv .venv/gateways
	@.venv/gateways/bin/python -m pip --disable-pip-version-check --quiet install 'litellm[proxy]==1.101.6' tensorzero==2026.6.0
	@touch $@
