# LCH's commands. They need Python 3.11+, pip and make; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 5600

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/runtime node_modules/.done ## Start hook, sandbox DMS and chat page on one address (PORT, default 5600)
	@PORT=$(PORT) $(BIN)/python -m lchook.sandbox

.PHONY: test
test: $(VENV)/dev node_modules/.done ## Set up and run all checks and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(or $(ARGS),-n 2 --dist loadfile)

.PHONY: install
install: $(VENV)/runtime ## Make the environment .venv with what LCH needs to run

.PHONY: run
run: $(VENV)/runtime ## Start LCH as in production, with the settings of the environment and .env
	@$(BIN)/gunicorn wsgi:app

.PHONY: lint
lint: $(VENV)/dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/bench benchmarks/node_modules/.done ## Measure LCH beside Node hooks (ARGS="--quick", ARGS="--only NAME")
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: requirements
requirements: $(VENV)/dev ## Compile the pinned requirements from their .in files
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade $(COMPILE) -o requirements.txt requirements.in
	$(BIN)/pip-compile --quiet --upgrade $(COMPILE) -o requirements-dev.txt requirements-dev.in

COMPILE := --strip-extras --no-header --no-emit-index-url --no-emit-find-links --annotation-style=line

.PHONY: clean
clean: ## Remove what these commands made
	rm -rf $(VENV) node_modules benchmarks/node_modules .pytest_cache .mypy_cache .ruff_cache build *.egg-info

$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LCH needs Python 3.11 or newer; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/python requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# A Node with SQLite, for the Node hooks. Without it LCH is measured beside fewer.
$(VENV)/bench: $(VENV)/dev benchmarks/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt || echo "pip brought no Node"
	@touch $@

# The page's Socket.IO client. Without npm, or without its registry, the page takes it from its public CDN.
node_modules/.done: package.json package-lock.json
	@mkdir -p node_modules
	@if command -v npm >/dev/null; then \
	  npm ci --no-audit --no-fund --silent --fetch-retries=0 >/dev/null 2>&1 || echo "npm brought no socket.io-client: the page uses its CDN"; \
	fi
	@mkdir -p node_modules && touch $@

# What the Node hooks are made of. Without it LCH is measured alone.
benchmarks/node_modules/.done: benchmarks/package.json benchmarks/package-lock.json
	@if command -v npm >/dev/null; then \
	  npm ci --prefix benchmarks --no-audit --no-fund --silent --fetch-retries=0 >/dev/null 2>&1 || echo "npm brought no Node hooks"; \
	fi
	@mkdir -p benchmarks/node_modules && touch $@
