# Each target makes the virtual environment it needs. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: quickstart test lint format type tensorboard clean

quickstart: $(VENV)/installed  ## phi-1's whole pipeline at tiny scale on the CPU, in minutes
	$(BIN)/python launch/quickstart.py $(ARGS)

test: $(VENV)/installed-dev  ## every test that needs no other machine
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(VENV)/installed-dev  ## types of the package
	$(BIN)/mypy

tensorboard: $(VENV)/installed  ## the curves of everything below runs/
	$(BIN)/tensorboard --logdir=runs

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phi1_jax needs Python 3.11 or newer, not " + sys.version.split()[0] + "; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[data,plots]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[data,plots,dev]'
	touch $@
