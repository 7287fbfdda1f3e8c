# make run [DURATION=10]   server and client together
# make test                every test that this machine can run
# make lint                style and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint format clean

$(VENV)/.installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

run: $(VENV)/.installed
	@$(BIN)/python client.py $(if $(DURATION),--duration $(DURATION)) & \
	$(BIN)/python server.py --once $(if $(DURATION),--duration $(DURATION)); status=$$?; wait; exit $$status

test: $(VENV)/.installed
	$(BIN)/pytest

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy *.py
	$(BIN)/mypy --allow-untyped-defs --allow-incomplete-defs tests

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
