# Each target makes the virtual environment it needs. PYTHON=python3.12 chooses another Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: quickstart figure21 test test-fast test-wheel test-notebooks test-lm-eval test-hf test-hf4 test-llama test-newest test-faults test-gpu-aot \
	plan-gpu bench bench-smoke docs lint format type tensorboard clean

quickstart: $(VENV)/installed  ## phi-1's whole pipeline at tiny scale on the CPU, in minutes
	$(BIN)/python launch/quickstart.py $(ARGS)

SEEDS ?= 3
figure21: $(VENV)/installed  ## the paper's Figure 2.1 on HumanEval and MBPP, with SEEDS=3
	$(BIN)/python launch/ablate.py --question=figure21 --output=runs/ablations/figure21 \
	  --seeds=$(SEEDS) --workers=2 --allow_code_execution --public_pass_at_1 --publish $(ARGS)

test: $(VENV)/installed-dev  ## every test that needs no other machine, in a process for each core
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(VENV)/installed-dev  ## without the tests marked slow
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-lm-eval: $(VENV)-lm-eval/installed  ## lm-eval and EvalPlus against our server and samples
	$(VENV)-lm-eval/bin/python -m pytest tests_harnesses $(ARGS)

test-wheel: $(VENV)/installed-dev  ## the wheel, built and used in an empty environment
	$(BIN)/python tests/check_wheel.py

test-notebooks: $(VENV)/installed-dev  ## "Run all" where only Jupyter and JAX are: make test-notebooks ARGS=generate
	$(BIN)/python tests/check_notebooks.py $(ARGS)

# In processes that pytest watches: should one end its own, the report names the test and the rest runs.
test-faults: $(VENV)/installed-dev  ## kills, full disks, damaged files, lost processes
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/faults $(ARGS)

test-hf: $(VENV)-hf/installed  ## parity with transformers and torch, in their own environment
	$(VENV)-hf/bin/python -m pytest -n auto --dist loadfile tests_hf $(ARGS)

test-hf4: $(VENV)-hf/installed $(VENV)-hf4/installed  ## exported folders in transformers 4 too
	TRANSFORMERS_4=$(VENV)-hf4/bin/python $(VENV)-hf/bin/python -m pytest tests_hf/test_folders.py $(ARGS)

test-llama: $(VENV)-hf/installed  ## GGUF files in llama.cpp, and its speed beside ours
	$(VENV)-hf/bin/python -m pip install --quiet xllamacpp
	$(VENV)-hf/bin/python -m pytest tests_hf/test_gguf.py tests_hf/test_benchmark_hf.py -k "gguf or test_decode" $(ARGS)

test-newest: $(VENV)-newest/installed  ## the tests with the newest of everything: PYTHON=python3.12
	$(VENV)-newest/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

plan-gpu: $(VENV)-aot/installed  ## the plan from the GPU's own program: make plan-gpu ARGS="--config=..."
	JAX_PLATFORMS=cpu $(VENV)-aot/bin/python launch/plan.py $(ARGS)

test-gpu-aot: $(VENV)-aot/installed  ## programs compiled for GPUs that are not here
	JAX_PLATFORMS=cpu $(VENV)-aot/bin/python -m pytest -n auto tests/gpu_aot $(ARGS)

bench: $(VENV)-hf/installed  ## speed beside transformers on torch: make bench ARGS="train --config=..."
	$(VENV)-hf/bin/python launch/benchmark.py --baseline=torch $(ARGS)

bench-smoke: $(VENV)-hf/installed  ## ratios to the baseline's times, beside the stored ones
	$(VENV)-hf/bin/python launch/benchmark.py smoke --config=configs/bench_cpu.py --against=benchmarks/smoke.json

lint: $(VENV)/installed-dev  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(VENV)/installed-dev  ## types of the package
	$(BIN)/mypy

docs: $(VENV)/installed-docs  ## the documentation's site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

tensorboard: $(VENV)/installed  ## the curves of everything below runs/
	$(BIN)/tensorboard --logdir=runs

clean:
	rm -rf $(VENV) $(VENV)-hf $(VENV)-hf4 $(VENV)-aot $(VENV)-newest $(VENV)-lm-eval build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache

# torch by an exact version, so that an index with a CPU build of it can serve that one.
$(VENV)-hf/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-hf
	$(VENV)-hf/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-hf/bin/python -m pip install --quiet torch==2.13.0 'transformers[serving]>=5'
	$(VENV)-hf/bin/python -m pip install --quiet --editable '.[data,hf,gguf,serve]' \
	  'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.7'
	touch $@

$(VENV)-lm-eval/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-lm-eval
	$(VENV)-lm-eval/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)-lm-eval/bin/python -m pip install --quiet 'lm-eval[api]>=0.4.9' 'evalplus>=0.3.1'
	$(VENV)-lm-eval/bin/python -m pip install --quiet --editable '.[hf,serve]' \
	  'pytest>=8.3' 'pytest-timeout>=2.3'
	touch $@

$(VENV)-hf4/installed:
	$(PYTHON) -m venv $(VENV)-hf4
	$(VENV)-hf4/bin/python -m pip install --quiet torch==2.13.0 'transformers>=4.50,<5'
	touch $@

$(VENV)-newest/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager \
	  --editable '.[api,data,gguf,hub,hf,plots,serve,dev]'
	touch $@

# XLA's compiler for GPUs, without a driver, cuDNN or the other libraries: the plugin of jax's version.
$(VENV)-aot/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)-aot
	$(VENV)-aot/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-aot/bin/python -m pip install --quiet --editable . \
	  'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.7'
	$(VENV)-aot/bin/python -m pip install --quiet --no-deps nvidia-cuda-nvcc nvidia-nvvm \
	  $$($(VENV)-aot/bin/python -c 'from jax import __version__ as v; print(f"jax-cuda13-plugin=={v} jax-cuda13-pjrt=={v}")')
	touch $@

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phi1_jax needs Python 3.11 or newer, not " + sys.version.split()[0] + "; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[api,data,hf,plots]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[api,data,hub,hf,plots,serve,dev]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@
