# Everything here sets itself up: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
BIN := .venv/bin
DEMO_FLAGS ?=
TEST_FLAGS ?=
CHAOS_FLAGS ?=
BENCH_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up test lint chaos bench lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: .venv/.runtime ## a batch from prompt to picture against pretend providers; DEMO_FLAGS="--exit --json"
	@$(BIN)/darkroom demo $(DEMO_FLAGS)

up: .venv/.runtime ## one machine against real providers (deploy/env.example)
	@$(BIN)/darkroom up

test: .venv/.dev ## the tests, offline; TEST_FLAGS="-k archive"
	$(BIN)/pytest -n 3 --dist worksteal $(TEST_FLAGS)

lint: .venv/.dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: .venv/.dev ## 150 faults on both databases, nothing lost or paid twice; CHAOS_FLAGS="--seed 7 --database sqlite --json"
	@$(BIN)/python -m tests.chaos $(CHAOS_FLAGS)

bench: .venv/.dev ## measured ratios beside their goals
	$(BIN)/python -m tests.bench $(BENCH_FLAGS)

lock: .venv/.dev ## renew the hashed locks after a change of pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --extra build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## forget the virtual environment and all caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.runtime: requirements.lock pyproject.toml
	@echo "Setting up .venv (once) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@echo "Installing the test tools (once) ..." >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
