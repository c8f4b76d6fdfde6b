# `make demo` trains a model here and now, `make test` runs the tests; both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo

.PHONY: demo test lint types wheel clean

demo: .venv/demo
	$(BIN)/varietas train --config demo --run $(RUN)
	$(BIN)/varietas evaluate --run $(RUN)
	$(BIN)/varietas report --run $(RUN)

test: .venv/test
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test
	$(BIN)/mypy

wheel: .venv/test
	$(BIN)/python -m build --wheel --outdir dist .

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Varietas needs Python 3.11 to 3.13, found " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev,parity]'
	touch $@ .venv/demo

clean:
	rm -rf .venv build dist *.egg-info
