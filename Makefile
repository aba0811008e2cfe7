# Each target sets the environment up when it is not there yet: `make demo` and `make test` work on a fresh clone.
#   make demo       scratch against pre-trained on generated images, from a real training run (minutes, no GPU);
#                   STUDY=hpt: one self-supervised pre-training after another, from unlabelled images to box AP;
#                   STUDY=frozen: a classifier's backbone frozen, fine-tuned or not used, in two detectors
#   make test       the tests (about 20 minutes on two cores); `make test-long` runs the ones that take longer or need
#                   TensorFlow, which it installs; `make test-classic` runs all of `make test` with the original
#                   OpenMMLab packages, in an environment of their own
#   make lint       ruff, as CI runs it
# PYTHON=… chooses the interpreter (3.10 to 3.12), VENV=… the environment to make or to use.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
SEED ?= 0
OUT ?= demo
STUDY ?= rethink

.PHONY: setup demo test test-long test-classic lint wheel clean

setup: $(VENV)/.ready

# The packages to build on: requirements/runtime.txt, or classic.txt for the original ones.
PACKAGES ?= runtime

$(VENV)/.ready: pyproject.toml requirements/$(PACKAGES).txt requirements/test.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10, 3.11 or 3.12 found; install one or name it with PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements/$(PACKAGES).txt -r requirements/test.txt
	@# The packages pull opencv-python and opencv-python-headless, which overwrite each other; only the headless one
	@# starts on a server without libGL.
	version=$$($(BIN)/python -m pip show opencv-python-headless | sed -n 's/^Version: //p') && \
	$(BIN)/python -m pip uninstall -q -y opencv-python opencv-python-headless && \
	$(BIN)/python -m pip install -q --no-deps opencv-python-headless==$$version
	$(BIN)/python -m pip install -q --no-deps -e .
	$(BIN)/python -c 'import rethink'
	touch $@

demo: setup
	$(BIN)/python tools/study.py run configs/shapes/study_$(STUDY).yml --seeds $(SEED) --out-dir $(OUT)/$(STUDY)

# A process for each core, each computing in one thread; a file's tests stay in one process.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not long' -n auto --maxprocesses 8 --dist loadfile

test-long: setup
	$(BIN)/python -m pip install -q -r requirements/long.txt
	$(BIN)/python -m pytest -m long

test-classic:
	$(MAKE) test VENV=.venv-classic PACKAGES=classic

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf build dist .pytest_cache .ruff_cache
