# People and CI use the same verbs. All of them set up what they need.
#   make demo    the demo: an agent application, its report and its costliest interaction
#   make test    the tests
#   make jaeger  Jaeger from its sources, for the test that shows the demo there; needs Go, and minutes, once
#   make check   format, lint, types, layers, generated files
#   make matrix  the conformance tests with the oldest supported SDKs
#   make soak    processes killed at random for ten minutes, then the ledger against the bill
#   make smoke   the built wheel, in an environment of its own
#   make bench   overhead against the bare SDK and beside the peers
#   make lock    resolve the development environment anew

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv

.PHONY: help demo test jaeger check matrix soak smoke bench lock format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# *//p' Makefile | head -10

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "otel-llm needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: pyproject.toml requirements.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m examples.demo

# Without Go there is no Jaeger, and its one test is skipped with the reason.
test: $(VENV)/.ready
	-$(BIN)/python -m tests.jaeger
	$(BIN)/python -m pytest -n 2

jaeger: $(VENV)/.ready
	$(BIN)/python -m tests.jaeger

check: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python semconv/generate.py --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

matrix: $(VENV)/.ready
	$(BIN)/python -m tests.matrix

soak: $(VENV)/.ready
	$(BIN)/python -m tests.soak --seconds 600

smoke: $(VENV)/.ready
	$(BIN)/python -m tests.smoke

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks

lock: $(VENV)/.ready
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --generate-hashes --no-header --upgrade pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .tools .demo .bench .matrix .smoke dist
