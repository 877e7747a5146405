# All targets install evossl into .venv first and run there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
OUT ?= demo

.PHONY: demo test slow check lint types imports docs bench install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     run a whole search on synthetic videos, into $(OUT)/ (minutes)"
	@echo "make test     run the tests, without the slow ones"
	@echo "make slow     run the slow tests"
	@echo "make bench    measure every row of docs/performance.md (20 minutes)"
	@echo "make check    run what CI runs: lint, types, layers, documentation, tests"
	@echo "make lint     also make types, make imports, make docs: one part of make check"
	@echo "make install  make .venv"
	@echo "make clean    remove .venv and caches"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "evossl needs Python 3.11 to 3.13; choose one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing; PyTorch and Ray are large, so this takes minutes"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/evossl demo --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

bench: $(STAMP)
	$(BIN)/python benchmarks/performance.py --write

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check: lint types imports docs test

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
