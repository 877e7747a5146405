# The two commands of the README: `make demo` and `make test`. Everything runs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
OUT ?= demo

.PHONY: demo test slow check lint types imports docs bench install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    the whole way on synthetic videos, into $(OUT)/ (minutes)"
	@echo "make test    the tests, but the slow ones"
	@echo "make slow    the slow ones"
	@echo "make bench   every row of docs/performance.md, measured anew (20 minutes)"
	@echo "make check   what CI runs: lint, types, layers, documentation, tests"
	@echo "make lint, make types, make imports, make docs: one of these alone"
	@echo "make install .venv, which all of these make first"
	@echo "make clean   remove .venv and caches"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "evossl needs Python 3.11 to 3.13; say which: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing (PyTorch and Ray are large: minutes)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/evossl demo --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py --write

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
