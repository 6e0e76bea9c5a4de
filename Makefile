# Thin: each target is one line into the command line or a tool. Only Python >= 3.11 and make are needed beforehand.
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done)
PY := .venv/bin/python
INSTALL := $(PY) -m shared.dev.install_packages
# Full runs that succeeded, for `bulkhead doctor`.
RECORD = mkdir -p .bulkhead/last-runs && touch .bulkhead/last-runs/$(1)

.PHONY: up test test-fast test-long test-pooler test-clock stripe-live check bench attack lock clean
up: .venv/up
	@$(PY) -m shared.cli up --with-parent

test: .venv/test
	@$(PY) -m tests.support.browser
	@$(PY) -m pytest

test-fast: .venv/test
	@$(PY) -m pytest --ignore=tests/e2e

# Full sizes, and what takes minutes or a package index.
test-long: .venv/test
	@$(PY) -m tests.support.browser
	@$(PY) -m pytest --long
	@$(call RECORD,test-long)

# Isolation behind a pooler that pools transactions. Needs pgbouncer from the system's packages.
test-pooler: .venv/test
	@$(PY) -m tests.support.pooler $(PY) -m pytest -n 0 tests/core/test_db.py tests/core/test_tenant_filter.py tests/cli/test_pooler.py
	@$(PY) -m tests.support.pooler $(PY) -m tests.attack

# A clock that jumps under load. Needs a C compiler.
test-clock: .venv/test
	@$(PY) -m tests.support.fake_clock $(PY) -m pytest -n 0 --long tests/e2e/test_faults.py -k clock

# The suite that certifies the Stripe stand-in, against the test mode of a Stripe account of your own.
stripe-live: .venv/test
	@test -n "$(KEY)" || { echo "make stripe-live needs a test key: make stripe-live KEY=sk_test_…" >&2; exit 1; }
	@STRIPE_TEST_KEY="$(KEY)" $(PY) -m pytest -n 0 tests/dev/stripe_sandbox/suite

check: .venv/test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/pyright
	@.venv/bin/lint-imports

bench: .venv/test
	@$(PY) -m tests.support.browser >&2
	@$(PY) -m shared.cli bench $(ARGS)
	@$(if $(ARGS),,$(call RECORD,bench))

attack: .venv/test
	@$(PY) -m shared.cli attack $(ARGS)
	@$(if $(ARGS),,$(call RECORD,attack))

# Hashes for every platform and Python; no address of any index.
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url -q
lock: .venv/made
	@PATH="$(CURDIR)/.venv/bin:$$PATH"; command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }; \
	$(COMPILE) -o requirements.lock && $(COMPILE) --extra test -o requirements-test.lock && \
	! grep -nE 'https?://|--(extra-)?index-url|--find-links' requirements.lock requirements-test.lock

.venv/up: .venv/made requirements.lock
	@$(INSTALL) requirements.lock
	@touch $@

.venv/test: .venv/made requirements-test.lock
	@$(INSTALL) requirements-test.lock
	@touch .venv/up $@

# Nothing is built to be importable: a path file and three lines for `.venv/bin/bulkhead`.
.venv/made:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Bulkhead needs Python 3.11 or newer; found $$("$(or $(PYTHON),python3)" --version 2>&1). Name another one: make up PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/bulkhead.pth"
	@printf '#!%s\nfrom shared.cli import main\nmain()\n' "$(CURDIR)/$(PY)" > .venv/bin/bulkhead && chmod +x .venv/bin/bulkhead
	@touch $@

# What can be made again. The data in .bulkhead stays.
clean:
	rm -rf .venv .bulkhead/web .bulkhead/bench .bulkhead/e2e .artifacts .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
