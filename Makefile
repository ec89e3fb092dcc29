# Two commands do all the set-up on a fresh machine: `make demo` upscales a pair, `make check` runs what a change must pass.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Two processes on any machine: tests start threads and processes of their own. A file stays in one, as tests of a file may share folders.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo check lint types docs test slow coverage clean

demo: $(VENV)/demo
	$(BIN)/stereosr upscale examples/left.png examples/right.png -s 4 --overwrite

check: lint types docs test

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev
	$(BIN)/mypy

# The documentation as a site, in dist/site; a link that leads nowhere is an error. Words are spelled as in a dictionary.
docs: $(VENV)/dev
	$(BIN)/codespell docs *.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

test: $(VENV)/dev
	$(PYTEST)

# Variants of what `make test` covers.
slow: $(VENV)/dev
	$(PYTEST) -m slow --timeout 900

# The quick tests, line by line and branch by branch; fails under what pyproject.toml asks for.
coverage: $(VENV)/dev
	$(PYTEST) --cov

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[cpu]"
	touch $@

# torch by itself first: its exact pin keeps pip from choosing a build with CUDA.
$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) -e ".[cpu,openvino,rtx,train,video,heic,bench,serve,ray,dev]"
	touch $@

clean:
	rm -rf $(VENV) dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
