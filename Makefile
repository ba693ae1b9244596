# Everything here sets itself up: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_FLAGS ?=
TEST_FLAGS ?=
PYTHONS ?=
CHAOS_FLAGS ?=
BENCH_FLAGS ?=
SBOM ?= dist/darkroom.cdx.json
# Of what asks about our dependencies, and is none of them.
TOOLS := .venv-tools
# Without it each process that a test starts, and each run, compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test test-system test-python compose-check lint chaos bench readme-figures api-docs demo-picture lock audit sbom clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## a batch from prompt to picture against pretend providers; DEMO_FLAGS="--exit --json"
	@$(BIN)/darkroom demo $(DEMO_FLAGS)

up: $(VENV)/.runtime ## one machine against real providers (deploy/env.example)
	@$(BIN)/darkroom up

test: $(VENV)/.dev ## the tests, offline; TEST_FLAGS="-k archive"
	$(BIN)/pytest -n 3 --dist worksteal $(TEST_FLAGS)

test-system: $(VENV)/.dev $(TOOLS)/.ready ## what takes long: whole machines, two versions, all examples, a browser, pgbouncer, promtool; installs what is missing as root
	@missing=; has() { PATH="$$PATH:/usr/sbin:/lib/systemd" command -v $$1 >/dev/null; }; \
		has chromium-headless-shell || has chromium || missing=" chromium-headless-shell"; \
		for one in pgbouncer systemd; do has $$one || missing="$$missing $$one"; done; \
		if [ -z "$$missing" ]; then :; \
		elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq $$missing; \
		else echo "missing:$$missing: install it (apt-get install$$missing), then run this again" >&2; exit 1; fi >&2
	@command -v promtool >/dev/null || $(MAKE) --no-print-directory $(TOOLS)/bin/promtool
	$(BIN)/pytest -n 3 --dist worksteal -m 'system or processes or browser or hypothesis' --hypothesis-profile thorough $(TEST_FLAGS)

test-python: ## both kinds of tests on every other Python from 3.11 on that is found; PYTHONS="python3.13 /path/to/python3.12"
	@found=$$($(PYTHON) .ci/pythons.py $(PYTHONS)) && for one in $$found; do \
		$(MAKE) test test-system VENV=.venv-$${one%%=*} PYTHON=$${one#*=} || exit 1; done

compose-check: $(VENV)/.dev ## deploy/compose.yaml without a daemon: the schema of compose, and our own rules
	@$(BIN)/pytest -q tests/test_compose.py

lint: $(VENV)/.dev ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@# Neither is run by the tests, so a name that is gone would only show when somebody measures.
	$(BIN)/mypy --config-file= --ignore-missing-imports --follow-imports=silent --disable-error-code=misc \
		--disable-error-code=index --disable-error-code=arg-type tests/bench tests/chaos tests/figures
	$(BIN)/lint-imports --no-cache

chaos: $(VENV)/.dev ## 150 faults on both databases, nothing lost or paid twice; CHAOS_FLAGS="--seed 7 --database sqlite --json"
	@$(BIN)/python -m tests.chaos --record $(CHAOS_FLAGS)

bench: $(VENV)/.dev ## measured ratios beside their goals
	$(BIN)/python -m tests.bench --record $(BENCH_FLAGS)

readme-figures: $(VENV)/.dev ## the last results of bench and chaos into README.md and deploy/PERFORMANCE.md
	$(BIN)/python -m tests.figures

api-docs: $(VENV)/.dev ## the OpenAPI document of the HTTP API, and the tables of deploy/API.md and METRICS.md, from the code
	$(BIN)/python -m tests.figures.api_docs

demo-picture: $(VENV)/.dev ## run the demo, and make the pictures of its result and of the console in the README anew
	$(BIN)/python -m tests.figures.demo_picture
	$(BIN)/python -m tests.figures.console_picture

lock: $(VENV)/.dev ## renew the hashed locks after a change of pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --extra build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra embedded --extra build --extra mcp --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group tools -o requirements-tools.lock

audit: $(TOOLS)/.ready ## known vulnerabilities of everything in the locks; asks the package index
	@$(TOOLS)/bin/python .ci/audit.py $(TOOLS)/bin/pip-audit requirements.lock requirements-dev.lock requirements-tools.lock

sbom: $(TOOLS)/.ready ## what a release consists of, as CycloneDX; SBOM=dist/darkroom.cdx.json
	@mkdir -p $(dir $(SBOM))
	@# It warns that a lock does not say what depends on what.
	@$(TOOLS)/bin/python -W ignore::UserWarning -m cyclonedx_py requirements --pyproject pyproject.toml \
		--output-reproducible --output-file $(SBOM) requirements.lock
	@echo $(SBOM)

clean: ## forget the virtual environments and all caches
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.runtime: requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (once) ..." >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the test tools (once) ..." >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(TOOLS)/.ready: requirements-tools.lock
	@echo "Setting up $(TOOLS) (once) ..." >&2
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.lock
	@touch $@

# Unpacked and not installed: the package would start a server on a fixed port.
$(TOOLS)/bin/promtool: | $(TOOLS)/.ready
	@command -v apt-get >/dev/null || { echo "missing: promtool: install Prometheus, which has it, then run this again" >&2; exit 1; }
	@test "$$(id -u)" != 0 || apt-get update -qq
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
		apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg -x prometheus_*.deb . && cp usr/bin/promtool $(CURDIR)/$@
