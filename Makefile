# Every target makes the environment it needs, and reuses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
SOAK_ARGS ?=
BENCH_ARGS ?=

.PHONY: demo test test-all test-full test-bounds lint bench soak lab clean

demo: $(STAMP)
	$(BIN)/ipycron demo

# Everything, several tests at a time; with PYTEST_ARGS a part, one by one.
test: $(STAMP)
ifeq ($(PYTEST_ARGS),)
	bash .ci/test $(BIN)/python
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

# The same at full length: what goes on for a minute, the whole fault matrix, every
# front end, every launcher.
test-full:
	IPYCRON_TEST_FULL=1 bash .ci/test-all $(PYTEST_ARGS)
	PYTHON="$(PYTHON)" bash .ci/bounds

# The lowest and the newest versions of what ipycron needs.
test-bounds:
	PYTHON="$(PYTHON)" bash .ci/bounds

# In a container one is root, which Jupyter asks to be told.
lab: $(STAMP)
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

# The stamp is older than what it was made from, or missing: install. With bytecode,
# for where Python may not write it (PYTHONDONTWRITEBYTECODE, set in many containers):
# every process would compile again whatever it imports.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	  --constraint constraints.txt --editable '.[redis,dask,bench,test,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache
