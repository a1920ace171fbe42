# Every target makes the environment it needs, and reuses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
SOAK_ARGS ?=
BENCH_ARGS ?=

.PHONY: demo test test-all lint bench soak lab clean

demo: $(STAMP)
	$(BIN)/ipycron demo

# Two parts apart, for what they do to their process: Playwright keeps a loop running
# in the main thread, Dask changes how every exception is pickled. They mostly wait:
# both at once. A part that fails does not keep the others from telling what they find.
test: $(STAMP)
ifeq ($(PYTEST_ARGS),)
	failed=0; \
	$(BIN)/python -m pytest --ignore=tests/browser --ignore=tests/process/fleet || failed=1; \
	mkdir -p build; \
	$(BIN)/python -m pytest tests/process/fleet >build/fleet.log 2>&1 & fleet=$$!; \
	$(BIN)/python -m pytest tests/browser || failed=1; \
	wait $$fleet || failed=1; cat build/fleet.log; \
	exit $$failed
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

# Ten minutes; SOAK_ARGS="--seconds 60 --seed 3" for less, or the same again.
soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py $(SOAK_ARGS)

# Every Python from 3.11 up on this machine; PYTEST_ARGS as in `make test`.
test-all:
	bash .ci/test-all $(PYTEST_ARGS)

# In a container one is root, which Jupyter asks to be told.
lab: $(STAMP)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

# The stamp is older than what it was made from, or missing: install.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[redis,dask,bench,test,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache
