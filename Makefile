# Everything starts from Python 3.11 or newer, make and a compiler; set-up happens by itself, once.
#   make PYTHON=python3.12 test        another interpreter
#   make VENV=path VENV_READY=1 test   an environment that already holds everything: no set-up

PYTHON ?= python3
VENV ?= .venv
VENV_LOWEST ?= .venv-lowest
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# A run directory holds one sweep: each quickstart has its own.
QUICKSTART := runs/quickstart-$(shell date +%Y%m%d-%H%M%S)

# What `make bench` runs: each prints its tables (benchmarks/README.md). BENCH_OPTIONS=--quick for a look.
BENCHMARKS := $(basename $(notdir $(wildcard $(patsubst %,benchmarks/%.py,training parzen packed startup))))

# The stamps are younger than the files that decide what is installed.
ifdef VENV_READY
STAMP :=
else
STAMP := $(VENV)/.installed
endif
STAMP_LOWEST := $(VENV_LOWEST)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv quickstart test test-slow test-lowest bench lint format types contracts

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

venv: $(STAMP) ## set up $(VENV): the versions of constraints.txt, this checkout editable

quickstart: $(STAMP) ## a small sweep on real digits, its table, best configuration and samples
	$(BIN)/gansearch sweep quickstart --out $(QUICKSTART)
	$(BIN)/gansearch calibrate $(QUICKSTART)
	$(BIN)/gansearch table1 $(QUICKSTART)
	$(BIN)/gansearch best $(QUICKSTART) -o $(QUICKSTART)/best.yaml
	$(BIN)/gansearch sample $(QUICKSTART) -o $(QUICKSTART)/samples.png

test: lint types contracts ## the checkers and the fast tests
	$(PYTEST) -m "not slow"

test-slow: $(STAMP) ## the end-to-end tests; SLOW=tests/search for a part of them
	$(PYTEST) -m slow -o timeout=1800 $(SLOW)

test-lowest: $(STAMP_LOWEST) ## the fast tests with the lower bounds of pyproject.toml
	$(VENV_LOWEST)/bin/python -m pytest -m "not slow"

bench: $(STAMP) ## the benchmarks, in ten minutes on two quiet cores; their figures go to bench/
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --json bench/$$name.json $(BENCH_OPTIONS) || exit 1; echo; done

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## rewrite the files as ruff wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## import-linter: the layers
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call new_venv,$(VENV))
	$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

$(VENV_LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(call new_venv,$(VENV_LOWEST))
	$(VENV_LOWEST)/bin/python $(PIP_INSTALL) -c constraints-lowest.txt -e '.[test]'
	touch $@

define new_venv
@$(PYTHON) -c 'import sys; sys.exit("gansearch needs Python 3.11 or newer: make PYTHON=... " if sys.version_info < (3, 11) else 0)'
$(PYTHON) -m venv $(1)
endef
