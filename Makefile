# `make demo` trains a model on this machine, `make test` runs the quick tests; both set up .venv first. docs/architecture.md says more.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo
# Nothing is compiled to bytecode beforehand: that took two fifths of an installation, for modules of which most are never imported.
PIP := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt

# Otherwise each of the hundreds of processes that tests start would compile jax's modules again, which takes most of its start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all lint types bench bench-gpu bench-aot wheel clean

demo: .venv/demo
	@echo "1 of 3: training; stop it whenever you like, make demo continues"
	$(BIN)/varietas train --config demo --run $(RUN)
	@echo "2 of 3: evaluating every language"
	$(BIN)/varietas evaluate --run $(RUN)
	@echo "3 of 3: generating text and writing the report"
	$(BIN)/varietas report --run $(RUN)

# Three processes, also on two cores: tests wait a quarter of the time, for signals, limits and Slurm.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: .venv/test
	$(PYTEST)

test-all: .venv/all .venv/aot/tpu .venv/slurm
	$(PYTEST) --all

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/all
	$(BIN)/mypy

bench: .venv/bench
	$(BIN)/python tests/bench/run.py

bench-gpu:
	$(PYTHON) tests/bench/gpu.py

bench-aot: .venv/test .venv/aot/tpu .venv/aot/cuda
	$(BIN)/python tests/bench/aot.py --out docs/scale.md

wheel: .venv/test
	$(BIN)/python -m build --wheel --outdir dist .

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	  "Varietas needs Python 3.11 to 3.13, found " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/demo: .venv/made pyproject.toml constraints.txt
	@echo "installing Varietas and its dependencies into .venv: about a minute"
	@$(PIP) --editable .
	@touch $@

.venv/test: .venv/made pyproject.toml constraints.txt
	@echo "installing what the quick tests need into .venv: about a minute"
	@$(PIP) --editable '.[data,dev,serve]'
	@touch $@ .venv/demo

# After .venv/test, not beside it: two pips must not work in one environment.
.venv/all: .venv/test
	@echo "installing what the heavy tests need into .venv (torch, ray, …): about a minute"
	@$(PIP) --editable '.[data,dev,eval,notebook,parity,ray,release,serve,slurm,tfds]'
	@touch $@

.venv/bench: .venv/all
	@$(PIP) --editable '.[bench]'
	@touch $@

# A real Slurm for tests, where root may install it.
.venv/slurm: .venv/made
	@if ! command -v slurmctld munged >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Slurm for tests"; apt-get update -qq && apt-get install -qq -y --no-install-recommends slurm-wlm munge >/dev/null; fi
	@touch $@

# Compilers for machines that are not here, apart from the environment: jax would load them in every run.
.venv/aot/tpu: constraints.txt .venv/made
	@mkdir -p .venv/aot
	@if $(PIP) --upgrade --no-deps --target .venv/aot libtpu; then touch $@; \
	  else echo "the TPU compiler cannot be installed: its tests will be skipped"; fi

.venv/aot/cuda: constraints.txt .venv/made
	@echo "installing NVIDIA's compilers into .venv/aot: 3 GB"
	@$(PIP) --upgrade --target .venv/aot 'jax-cuda13-plugin[with-cuda]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
