# `make test` and `make demo` work on a fresh checkout; the second time they start at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TABLE ?=
ARGS ?=

.PHONY: test demo lint types bench slow topology pretrained prior clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

test: lint types
	$(BIN)/pytest -n 2 --dist loadfile -p no:benchmark

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

slow: $(VENV)/.ready
	$(BIN)/pytest -m slow

topology: $(VENV)/.ready
	$(BIN)/pytest -m slow tests/test_topology.py

bench: $(VENV)/.ready
	$(BIN)/pytest benchmarks --benchmark-only -m ''

demo: $(VENV)/.ready
	@case "$(TABLE)" in \
	  "") name=fashion5; set --;; \
	  *.tfrecord|*.parquet|*.csv) name="$$(basename "$(TABLE)")"; table="runs/demo/$$name.arrow"; mkdir -p runs/demo; \
	    test "$$table" -nt "$(TABLE)" || $(BIN)/archsweep table import "$(TABLE)" "$$table" || exit 2; \
	    set -- --table "$$table";; \
	  *) name="$$(basename "$(TABLE)" .arrow)"; set -- --table "$(TABLE)";; \
	esac; \
	$(BIN)/archsweep search examples/demo.toml "$$@" --out "runs/demo/$$name-search" $(ARGS)

pretrained: $(VENV)/.ready
	@test -n "$(TABLE)" || { echo 'name all of NAS-Bench-101: make pretrained TABLE=nb101.arrow' >&2; exit 2; }
	$(BIN)/python -m surrogate.pretrained.train "$(TABLE)"

prior: $(VENV)/.ready
	$(BIN)/python -m surrogate.prior.train $(TABLE)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
