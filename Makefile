# make app: the lab in a browser.  make test: every promise, checked in minutes.  make test-all: the
# long statistical suites and the whole browser matrix as well.  Each sets itself up.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: app test test-all lint bench screenshots lock clean

app: .venv/ready
	$(BIN)/leaklab app

test: .venv/ready-dev browser
	$(PYTEST) -m "not deep"

test-all: .venv/ready-dev browser
	$(PYTEST) --hypothesis-profile=deep

lint: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready-dev .venv-bench/ready
	$(BIN)/python -m benchmarks

# The peers.  PyTorch first and by its version alone: what it then needs, pip leaves alone.
.venv-bench/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet torch==2.13.0
	.venv-bench/bin/pip install --quiet -r benchmarks/requirements.txt
	touch $@

# The pictures of README, drawn anew from real runs.
screenshots: .venv/ready-dev browser
	$(BIN)/python -m docs.screenshots

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.lock
	$(BIN)/pip install --quiet -r requirements.lock -r requirements-dev.lock
	touch $@

# Tests and screenshots drive a real Chromium or Chrome.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome > /dev/null || [ -n "$$LEAKLAB_CHROMIUM" ] \
		|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y chromium; } \
		|| echo "install Chromium, or let LEAKLAB_CHROMIUM name it: the browser tests need it"

# Both lock files from scratch, in an environment of their own; torch stays where it is pinned.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0
	.venv-lock/bin/pip install --quiet . && .venv-lock/bin/pip uninstall --quiet -y leaklab
	.venv-lock/bin/pip freeze | sed 's/+cpu$$//' > requirements.lock
	.venv-lock/bin/pip install --quiet '.[dev]' && .venv-lock/bin/pip uninstall --quiet -y leaklab
	.venv-lock/bin/pip freeze | sed 's/+cpu$$//' | grep -vxFf requirements.lock \
		> requirements-dev.lock
	rm -rf .venv-lock build

clean:
	rm -rf .venv .venv-bench .venv-lock build *.egg-info .pytest_cache .mypy_cache .ruff_cache
