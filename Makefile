# The words that people and CI use. `make` alone prints them.
PYTHON ?= python3
BIN := .venv/bin
# What is checked and tested is what is locked: the marker is as old as the last installation of the lock.
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo up test check chaos bench format lock

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Pointsaga needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY) ## Redeem rewards for real on a stack of its own; ends with "demo: ok"
	$(BIN)/pointsaga demo

up: $(READY) ## Run the whole local stack in the foreground (Ctrl-C stops it, data stays in .data/)
	$(BIN)/pointsaga up

test: $(READY) ## Run every test, in three processes side by side: most of them wait for time-outs
	$(BIN)/pytest -n 3 --dist loadgroup --no-loadscope-reorder

check: $(READY) ## Format, lint, types, import contracts, migrations, compose file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

chaos: $(READY) ## Kill and mislead every part under load, from a seed (CHAOS_SECONDS=300 CHAOS_SEED=n)
	$(BIN)/python -m tests.chaos

bench: $(READY) ## Time every list of a large shop against a small one; fails where a deep page is too slow
	$(BIN)/python -m benchmarks

format: $(READY) ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
lock: ## Resolve the lock files anew (needs uv)
	$(LOCK) --all-extras --upgrade -o requirements.lock
	$(LOCK) --extra sandbox -c requirements.lock -o requirements-image.lock
