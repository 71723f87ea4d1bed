# `make test` and `make demo` work on a fresh checkout; the second time they start at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TABLE ?=

.PHONY: test demo lint types bench slow clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

test: lint types
	$(BIN)/pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

slow: $(VENV)/.ready
	$(BIN)/pytest -m slow

bench: $(VENV)/.ready
	$(BIN)/pytest benchmarks --benchmark-only -m ''

demo: $(VENV)/.ready
	@test -n "$(TABLE)" || { echo 'usage: make demo TABLE=FILE, a NAS-Bench-101 file (TFRecord, Parquet, CSV) or an archsweep table' >&2; exit 2; }
	$(BIN)/archsweep demo "$(TABLE)"

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
