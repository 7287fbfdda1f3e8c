# make run [DURATION=10]   server and client together
# make demo                demo.mp4 and docs/demo.webp, from a run of 15 s
# make test                every test that this machine can run
# make netlab              server and client through a bad network, a table (needs root)
# make transports          the ways that frames can travel, side by side, a table (needs root)
# make soak [MINUTES=10]   memory over time, a table
# make bench [BENCH=--quick]  what the loop costs, tables and plots in measured/; its options: python -m bench --help
# make images              build both images and run them as two containers (needs root, podman, buildah)
# make manifests           check Dockerfiles, compose.yaml and k8s/
# make lint                style and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

SECONDS ?= 20
MINUTES ?= 10
BENCH ?=

.PHONY: run demo test netlab transports soak bench images manifests lint format clean

$(VENV)/.installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

run: $(VENV)/.installed
	@$(BIN)/python client.py $(if $(DURATION),--duration $(DURATION)) & \
	$(BIN)/python server.py --once $(if $(DURATION),--duration $(DURATION)); status=$$?; wait; exit $$status

demo: $(VENV)/.installed
	@$(BIN)/python server.py --once & \
	$(BIN)/python client.py --view none --record demo.mp4 --duration 15; status=$$?; wait; exit $$status
	$(BIN)/python -m tools.animate demo.mp4 docs/demo.webp

test: $(VENV)/.installed
	$(BIN)/pytest

netlab: $(VENV)/.installed
	$(BIN)/python -m tools.netlab --seconds $(SECONDS)

transports: $(VENV)/.installed
	$(BIN)/python -m tools.netlab --transports --seconds $(SECONDS)

soak: $(VENV)/.installed
	$(BIN)/python -m tools.soak --minutes $(MINUTES)

bench: $(VENV)/.installed
	$(BIN)/python -m bench $(BENCH)

images:
	tools/images.sh

manifests: $(VENV)/.installed
	$(BIN)/hadolint Dockerfile.server Dockerfile.client
	$(BIN)/python -m tools.manifests k8s
	@if docker compose version > /dev/null 2>&1; then docker compose config --quiet; \
	elif command -v docker-compose > /dev/null; then docker-compose config --quiet; \
	else echo "compose.yaml: not checked, missing: docker compose"; fi
	@if command -v kubectl > /dev/null; then kubectl kustomize k8s > /dev/null; \
	else echo "kustomization: not resolved, missing: kubectl"; fi

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy *.py film transport scoring finding views protocol common bench tools
	$(BIN)/mypy --allow-untyped-defs --allow-incomplete-defs tests
	$(BIN)/lint-imports
	$(BIN)/shellcheck tools/*.sh

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
