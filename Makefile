# Everything is a target without arguments; `make` alone lists them. Each installs just what it needs, says so, and is
# quick the second time. What can be cached lives outside the checkout, in $OPENBOURSE_CACHE (~/.cache/openbourse).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export OPENBOURSE_CACHE := $(or $(OPENBOURSE_CACHE),$(HOME)/.cache/openbourse)
# One for each checkout: cargo would take another checkout's older files for built already.
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(OPENBOURSE_CACHE)/target/$(shell pwd -P | sha256sum | cut -c1-12))
export PATH := $(OPENBOURSE_CACHE)/bin:$(PATH)
# Where it is set, as containers like to, each of the many processes that tests start compiles all that it imports: that
# nearly doubles what a start costs.
unexport PYTHONDONTWRITEBYTECODE

ONLY ?=
KIND := gitops/bootstrap/kind
ENGINE := workloads/engine
CONTRACTS := workloads/contracts
WEB := workloads/gateway/web
RUN := uv run --frozen --no-sync
PYTEST := $(RUN) pytest
# uv takes the extension for built where it was built before, also after `git clean`: a newer file says otherwise.
BUILD_AGAIN := [ -e $(ENGINE)/openbourse/engine/_core.abi3.so ] || touch $(ENGINE)/pyproject.toml

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: install
install: ## Everything that development needs, but for the cluster
	@.ci/install-uv
	@echo "Python packages and the engine's extension (the first time a few minutes)"
	@$(BUILD_AGAIN)
	@uv sync --frozen --quiet
	@.ci/build-web dev

# What `openbourse local` needs and no more: no compilers of messages, no linters, no cluster.
.PHONY: install-local
install-local:
	@.ci/install-uv
	@echo "Python packages and the engine's extension (the first time a few minutes)"
	@$(BUILD_AGAIN)
	@uv sync --frozen --quiet --inexact --no-default-groups --extra local --group web
	@.ci/build-web

.PHONY: run
run: install-local ## The exchange on this machine: engine, ledger, gateway, a demo account (no Kubernetes)
	@exec $(RUN) openbourse local

.PHONY: check
check: install ## Formats, lints, types, import rules, message compatibility
	$(RUN) ruff format --check --quiet .
	$(RUN) ruff check --quiet .
	$(RUN) mypy
	$(RUN) lint-imports
	cd $(WEB) && $(CURDIR)/.venv/bin/npm run --silent check
	$(RUN) buf lint $(CONTRACTS)
	$(RUN) buf breaking $(CONTRACTS) --against $(CONTRACTS)/baseline.binpb
	git grep -lzE '^#!.*\b(ba)?sh\b' -- ':!*.md' | xargs -0 $(RUN) shellcheck
	cd $(ENGINE) && cargo fmt --check
	cd $(ENGINE) && cargo clippy --quiet --all-targets -- -D warnings
	cd $(ENGINE)/bench && cargo fmt --check && cargo clippy --quiet --locked --all-targets -- -D warnings

# Without ONLY: everything but the long runs. ONLY=fast: no servers, no cluster. ONLY=<folder of tests>: that folder.
.PHONY: test
test: install ## All tests (make test ONLY=fast: the inner loop; ONLY=ledger: one folder)
	@.ci/run-tests "$(ONLY)"

.PHONY: simulate
simulate: install ## Seeded simulations with more seeds, and small worlds to their end
	SIMULATION_SEEDS=$${SIMULATION_SEEDS:-2000} $(PYTEST) --numprocesses auto --dist worksteal -q tests/simulation
	SMALL_WORLDS=all $(PYTEST) --numprocesses auto --dist worksteal -q tests/replication
	cd $(ENGINE) && SIMULATION_SEEDS=$${SIMULATION_SEEDS:-2000} cargo test --release --quiet simulation

.PHONY: soak
soak: install ## The long runs: half an hour of trading under kills, 200 faults, an hour of full load, an API server that fails at each 5th call, a million commands for kernel and twin, every rehearsal, certificates rotated on the cluster
	SOAK_S=$${SOAK_S:-1800} SOAK_COMMANDS=$${SOAK_COMMANDS:-1000000} FAULTS=$${FAULTS:-200} \
	  FULL_LOAD_S=$${FULL_LOAD_S:-3600} DELETED_PODS=$${DELETED_PODS:-10} \
	  FAULT_STEP=$${FAULT_STEP:-5} KILL_STEP=$${KILL_STEP:-5} SCENARIOS=$${SCENARIOS:-all} ROTATIONS=1 $(PYTEST) -m soak

.PHONY: bench
bench: install ## Benchmarks, one line of JSON last (make bench ONLY=engine: one group)
	@.ci/install-servers
	@ONLY=$(ONLY) $(RUN) python tests/bench

.PHONY: screenshots
screenshots: install ## Pictures of the traders' page, of an exchange with a market, into docs/images (5 minutes)
	@.ci/install-servers
	@PYTHONPATH=tests $(RUN) python tests/web/screenshots.py

.PHONY: regen
regen: install ## Everything that is generated: messages, custom resources, the diagram of replication
	PATH="$(CURDIR)/.venv/bin:$$PATH" buf generate $(CONTRACTS) --template $(CONTRACTS)/buf.gen.yaml --output $(CONTRACTS)
	$(RUN) python -m openbourse.contracts.resources crds charts/openbourse/crds
	$(RUN) python -m openbourse.engine.replication.transitions docs/replication.md

.PHONY: cluster
cluster: install ## A Kubernetes cluster of four nodes (kind), with our images in it
	@$(KIND)/up.sh
	@$(KIND)/images.sh

.PHONY: cluster-down
cluster-down: ## Ends the cluster and the Docker engine that was started for it
	@$(KIND)/down.sh

.PHONY: demo
demo: cluster ## From kubectl apply to a settled trade, a halt and a killed engine, on the cluster
	@eval "$$($(KIND)/env.sh)"; PYTHONPATH=tests exec $(RUN) python tests/cluster/demo.py
