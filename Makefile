# `make help` lists the targets. Each sets the environment up when it is not there yet: `make demo` and `make test` work on a
# fresh clone.
# PYTHON=… chooses the interpreter (3.10 to 3.13), VENV=… the environment to make or to use.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
SEED ?= 0
OUT ?= demo
STUDY ?= rethink

.PHONY: setup help demo test test-long test-classic test-pythons lint docs wheel release clean

setup: $(VENV)/.ready  ## the environment in .venv, from PyPI; what a plain `make` does

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo 'PYTHON=… chooses the interpreter (3.10 to 3.13), VENV=… the environment to make or to use.'

# The packages to build on: requirements/runtime.txt, or classic.txt for the original ones.
PACKAGES ?= runtime

$(VENV)/.ready: pyproject.toml requirements/$(PACKAGES).txt requirements/test.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 to 3.13 found; install one or name it with PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements/$(PACKAGES).txt -r requirements/test.txt
	@# The packages pull opencv-python and opencv-python-headless, which overwrite each other; only the headless one
	@# starts on a server without libGL.
	version=$$($(BIN)/python -m pip show opencv-python-headless | sed -n 's/^Version: //p') && \
	$(BIN)/python -m pip uninstall -q -y opencv-python opencv-python-headless && \
	$(BIN)/python -m pip install -q --no-deps opencv-python-headless==$$version
	@# The name of before, under which PyPI has another project.
	$(BIN)/python -m pip uninstall -q -y rethink 2>/dev/null
	$(BIN)/python -m pip install -q --no-deps -e .
	$(BIN)/python -c 'import rethink'
	touch $@

demo: setup  ## a study on generated images, minutes, no GPU; STUDY=rethink, hpt or frozen, SEED="0 1", OUT=folder
	$(BIN)/python tools/study.py run configs/shapes/study_$(STUDY).yml --seeds $(SEED) --out-dir $(OUT)/$(STUDY)

# A process for each core, each computing in one thread; a file's tests stay in one process.
test: setup  ## the tests, 12 to 25 minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not long' -n auto --maxprocesses 8 --dist loadfile

test-long: setup  ## the tests that take longer or need TensorFlow, which it installs
	$(BIN)/python -m pip install -q -r requirements/long.txt
	$(BIN)/python -m pytest -m long

test-classic:  ## the tests with the original OpenMMLab packages, in .venv-classic
	$(MAKE) test VENV=.venv-classic PACKAGES=classic

lint: setup  ## ruff, as before each commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: setup  ## the docs as a site, in build/docs; a link that leads nowhere ends it
	$(BIN)/python -m pip install -q -r requirements/docs.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

wheel: setup  ## the wheel, in dist
	$(BIN)/python -m build --wheel

release: setup  ## what can be published, checked and tried, in dist; publishes nothing; TAG=1 also tags
	$(BIN)/python .ci/release.py $(if $(TAG),--tag)

test-pythons:  ## a smoke test with each Python that is here, 3.10 to 3.14, in environments of their own
	.ci/pythons

clean:  ## remove what was built and cached, not .venv
	rm -rf build dist docs/reference .pytest_cache .ruff_cache
