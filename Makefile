# Thin: each target is one line into the command line interface or a tool. `make up` needs Python >= 3.11 and nothing else.
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: up test test-fast check bench attack lock clean
up: .venv/up
	@$(PY) -m shared.cli up

test: .venv/test
	@$(PY) -m tests.browser
	@$(PY) -m pytest

test-fast: .venv/test
	@$(PY) -m pytest --ignore=tests/e2e

check: .venv/test
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy && .venv/bin/pyright
	@.venv/bin/lint-imports

bench: .venv/test
	@$(PY) -m shared.cli bench

attack: .venv/test
	@$(PY) -m shared.cli attack $(ARGS)

lock: .venv/test
	@for extra in "" "--extra test"; do out=requirements$${extra:+-test}.lock; .venv/bin/uv pip compile pyproject.toml $$extra --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -q -o $$out; done

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Bulkhead needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make up PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv

.venv/up: .venv/bin/python requirements.lock
	@echo "Installing (once) …"
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock || { echo "Packages could not be installed. The first start needs a package index; later ones do not."; exit 1; }
	@touch $@

.venv/test: .venv/bin/python requirements-test.lock
	@echo "Installing what tests need (once) …"
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock || { echo "Packages could not be installed. The first run needs a package index; later ones do not."; exit 1; }
	@touch $@ .venv/up

clean:
	rm -rf .venv .bulkhead .web reflex.lock .artifacts
