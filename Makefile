# make run [DURATION=10] [OPTIONS='--view web']  server and client together; options of the client; kept in reports/run
# make demo [REPLACE=yes]  a film of a run of 15 s in demo/; REPLACE=yes: in place of the repository's
# make test [ARGS=...]     the tests that are quick, two minutes; its arguments: pytest --help
# make test-all            every test that this machine can run, in random order, and what they cover
# make test-shuffled       the quick ones five times, in five orders
# make netlab              server and client through a bad network, a table (needs root)
# make transports          the ways that frames can travel, side by side, a table (needs root)
# make interop             the WebRTC stacks that are here as clients of the server, a table
# make soak [MINUTES=10]   memory over time, a table
# make bench [BENCH=--quick]  what the loop costs, tables and plots in measured/; its options: python -m bench --help
# make measure [STEPS=latency]  what README and docs show, measured again in measured/: STEPS=--list says how long it takes
# make figures [TAKE=measured]  the tables and plots of README and docs, from docs/measured; TAKE: from new results
# make docs                the docs as a site in reports/site, strictly: no dead link
# make images              build both images and run them as two containers (docker or podman)
# make manifests           check Dockerfiles, compose.yaml and k8s/
# make lint                style and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNNING := $(VENV)/.running
TESTING := $(VENV)/.testing
NODE := examples/node/node_modules/.package-lock.json
PYTEST := $(BIN)/python -m pytest --numprocesses=4 --dist=loadgroup
QUICK := -m "not (screen or browser or hosts or slow or fresh)"

unexport PYTHONDONTWRITEBYTECODE  # what was compiled once is not to be compiled in each test again

SECONDS ?= 20
MINUTES ?= 10
BENCH ?=

.PHONY: run demo test test-all test-shuffled netlab transports interop soak bench measure figures docs images manifests lint types format \
	clean

$(RUNNING): requirements.txt tools/setup.py
	@command -v $(PYTHON) > /dev/null || { echo "set-up: error: no $(PYTHON) here: install Debian's packages python3 and python3-venv, or make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) tools/setup.py
	@touch $@

$(TESTING): requirements-dev.txt requirements-report.txt requirements-docs.txt $(RUNNING)
	@$(PYTHON) tools/setup.py tests
	@touch $@

$(NODE): examples/node/package-lock.json
	@if ! command -v npm > /dev/null; then echo "no npm here: what needs Node is skipped"; \
	else timeout 180 npm ci --prefix examples/node --no-audit --no-fund --loglevel=error \
	|| echo "npm has not installed examples/node: what needs Node is skipped"; fi

run: $(RUNNING)
	@mkdir -p reports
	@$(BIN)/python -m tools.run --out reports/run $(if $(DURATION),--duration $(DURATION)) $(OPTIONS)

demo: $(RUNNING)
	@mkdir -p demo
	@$(BIN)/python -m tools.run --duration 15 --view none --record demo/demo.mp4
	@$(BIN)/python -m tools.animate demo/demo.mp4 demo/demo.webp
ifeq ($(REPLACE),yes)
	@mv demo/demo.mp4 demo.mp4
	@mv demo/demo.webp docs/demo.webp
	@rmdir demo
	@echo "demo: demo.mp4 and docs/demo.webp are new"
else
	@echo "demo: demo/demo.mp4 and demo/demo.webp; make demo REPLACE=yes puts them in place of the repository's"
endif

test: $(TESTING)
	@$(PYTEST) $(QUICK) $(ARGS)

test-all: $(TESTING) $(NODE)
	@$(PYTEST) --random-order-bucket=global --durations=20 -rs --junitxml=reports/tests.xml \
		--cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

test-shuffled: $(TESTING)
	@for round in 1 2 3 4 5; do $(PYTEST) --random-order-bucket=global $(QUICK) $(ARGS) || exit 1; done

netlab: $(TESTING)
	$(BIN)/python -m tools.netlab --seconds $(SECONDS)
	@if command -v turnserver > /dev/null; then $(BIN)/python -m tools.netlab --relays --seconds $(SECONDS); \
	else echo "no table of a TURN relay: not installed here: coturn"; fi

transports: $(TESTING)
	$(BIN)/python -m tools.netlab --transports --seconds $(SECONDS)

interop: $(TESTING) $(NODE)
	$(BIN)/python -m tools.interop

soak: $(TESTING)
	$(BIN)/python -m tools.soak --minutes $(MINUTES)

bench: $(TESTING)
	$(BIN)/python -m bench $(BENCH)

measure: $(TESTING)
	$(BIN)/python -m tools.measure $(STEPS)

figures: $(TESTING)
	$(BIN)/python -m tools.figures $(if $(TAKE),--take $(TAKE))

docs: $(TESTING)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

images:
	tools/images.sh

manifests: $(TESTING)
	$(BIN)/hadolint Dockerfile.server Dockerfile.client
	$(BIN)/python -m tools.manifests k8s
	@if docker compose version > /dev/null 2>&1; then docker compose config --quiet; \
	elif command -v docker-compose > /dev/null; then docker-compose config --quiet; \
	else echo "compose.yaml: not checked, missing: docker compose"; fi
	@if command -v kubectl > /dev/null; then kubectl kustomize k8s > /dev/null; \
	else echo "kustomization: not resolved, missing: kubectl"; fi

lint: $(TESTING) types
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/shellcheck .ci/run tools/*.sh
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*
	@if command -v actionlint > /dev/null; then actionlint; \
	else echo "workflows: their schema alone was checked, missing: actionlint"; fi

types: $(TESTING)
	$(BIN)/python -m mypy *.py programs film transport scoring finding views protocol common bench tools report examples
	$(BIN)/python -m mypy --allow-untyped-defs --allow-incomplete-defs tests
	$(BIN)/lint-imports

format: $(TESTING)
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

clean:
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis reports examples/node/node_modules
