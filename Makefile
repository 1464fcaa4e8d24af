# Everything runs in .venv, which is made when it is needed and remade when the packaging changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := data tokenization optformer training serving
SOURCES := $(shell find $(PACKAGES) -type f -not -path '*/__pycache__/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install test lint format types unit slow wheel docs pictures demo clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## Make .venv with the project (editable) and its development tools

test: lint  ## Everything that must pass before a merge
	$(MAKE) --no-print-directory --jobs=2 unit types wheel docs

lint: $(VENV)/.installed  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed  ## Fix style and formatting where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The folders become one package only when they are installed, so mypy reads the built wheel, from
# a folder where the bare ones are not in its way.
types: $(VENV)/.wheel  ## Check types
	cd $(VENV) && MYPYPATH=wheel bin/mypy --config-file ../pyproject.toml -p optformer

unit: $(VENV)/.installed  ## Run the tests but the slow ones, files side by side in two processes
	$(BIN)/pytest -q -m "not slow" -p no:cacheprovider -n 2 --dist loadfile --durations=10

slow: $(VENV)/.installed  ## Run the slow tests, which `test` leaves out
	$(BIN)/pytest -q -m slow -p no:cacheprovider --durations=10

# An editable install hides files that the wheel forgets: ask the wheel itself.
wheel: $(VENV)/.wheel  ## Check that the built wheel stands on its own
	cd $(VENV) && PYTHONPATH=wheel bin/python -P ../tests/wheel_check.py

# The pages are read from the wheel, too, and nothing is fetched. A broken link ends it.
docs: $(VENV)/.wheel  ## Build the pages into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open site/index.html"

pictures: $(VENV)/.installed  ## Draw the pictures of the pages again
	$(BIN)/python -P docs/assets/pictures.py
	$(BIN)/python -P docs/assets/design.py
	$(BIN)/python -P docs/assets/results.py
	$(BIN)/python -P docs/assets/terminals.py
	$(BIN)/python -P docs/assets/service.py

demo: $(VENV)/.installed  ## Tune a neural network on digits and write what happened to demo-output
	$(BIN)/optformer demo --out demo-output

clean:  ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist site *.egg-info demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[agents,dev,benchmark,docs,lightning,ray,serve,servers]'
	@touch $@

$(VENV)/.wheel: $(VENV)/.installed $(SOURCES)
	rm -rf build dist $(VENV)/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/wheel dist/*.whl
	@touch $@
