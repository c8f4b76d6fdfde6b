# `make demo` trains a model here and now, `make test` runs the tests; both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo
# Not compiled: that took two fifths of an installation, of modules most of which nobody imports.
PIP := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types bench bench-gpu bench-aot wheel clean

demo: .venv/demo
	@echo "1 of 3: training; stop it whenever you like, make demo goes on from there"
	$(BIN)/varietas train --config demo --run $(RUN)
	@echo "2 of 3: evaluating every language"
	$(BIN)/varietas evaluate --run $(RUN)
	@echo "3 of 3: generating text and writing the report"
	$(BIN)/varietas report --run $(RUN)

test: .venv/test .venv/aot/tpu
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test
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
	@echo "installing Varietas and what it needs into .venv: about a minute"
	@$(PIP) --editable .
	@touch $@

.venv/test: .venv/made pyproject.toml constraints.txt
	@echo "installing what the tests need into .venv: about two minutes"
	@$(PIP) --editable '.[data,demo,dev,parity,ray,slurm,tfds]'
	@touch $@ .venv/demo

.venv/bench: .venv/test
	@$(PIP) --editable '.[bench]'
	@touch $@

# Compilers for machines that are not here, apart from what jax would load in every run.
.venv/aot/tpu: constraints.txt .venv/made
	@mkdir -p .venv/aot
	@if $(PIP) --upgrade --no-deps --target .venv/aot libtpu; then touch $@; \
	  else echo "the TPU compiler cannot be installed: its tests are left out"; fi

.venv/aot/cuda: constraints.txt .venv/made
	@echo "installing NVIDIA's compilers into .venv/aot: 3 GB"
	@$(PIP) --upgrade --target .venv/aot 'jax-cuda13-plugin[with-cuda]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
