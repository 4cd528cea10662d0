# Commands for people and CI. `make` without a target lists them.
PYTHON ?= python3
BIN := .venv/bin
# Tests and checks use the locked dependencies: this file has the time of their last installation.
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo up test quick check chaos mutants bench image-test format lock

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Pointsaga needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY) ## Redeem rewards on a temporary local stack, check every result; ends with "demo: ok"
	$(BIN)/pointsaga demo

up: $(READY) ## Run the local stack in the foreground (Ctrl-C stops it, data stays in .data/)
	$(BIN)/pointsaga up

test: $(READY) ## Run all tests, in five processes
	$(BIN)/pytest -n 5 --no-loadscope-reorder

quick: $(READY) ## Run the tests that need no Temporal server
	$(BIN)/pytest --quick --hypothesis-profile=quick -n 3 --no-loadscope-reorder

# Kustomizations and custom resources have no schema in Kubernetes; tests look at those.
MANIFESTS = $(filter-out %kustomization.yaml %scaled-object.yaml %worker-deployment.yaml,$(wildcard deploy/kubernetes/*/*.yaml deploy/kubernetes/*/*/*.yaml))

check: $(READY) ## Check format, lint, types, import contracts, compose file, manifests, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS)
	$(BIN)/python -m tests.dependencies

chaos: $(READY) ## Inject faults into every part under load (CHAOS_SECONDS=300 CHAOS_SEED=n)
	$(BIN)/python -m tests.chaos

mutants: $(READY) ## Break the code, one change at a time; fails if a test does not notice (ONLY=name)
	$(BIN)/python -m tests.mutants $(addprefix --only ,$(ONLY))

bench: $(READY) ## Measure purchases and lists, about 15 minutes; fails above a limit (BENCH=--help)
	$(BIN)/python -m benchmarks $(BENCH)

image-test: $(READY) ## Build the image, run all its roles and buy a reward (needs root, podman, runc, mmdebstrap)
	deploy/image-test

format: $(READY) ## Format the code and apply safe lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
lock: ## Upgrade the lock files (needs uv)
	$(LOCK) --all-extras --upgrade -o requirements.lock
	$(LOCK) --extra sandbox --extra traces -c requirements.lock -o requirements-image.lock
