# Elo: `make help` lists the targets. A fresh machine needs make and Python 3.11 to 3.13, nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := deploy/requirements-dev.lock
LOCK_RUNTIME := deploy/requirements.lock
PYTEST := $(BIN)/python -m pytest
# The default run; a test marked slow or soak is left out (pyproject.toml).
CORE_TESTS ?= tests/unit tests/property
KAFKA_TESTS ?= tests/integration
FAULT_TESTS ?= tests/faults
# How many processes run the tests that need no broker. Of those that do two files run at a time, each on a broker of
# its own; faults have the machine to themselves.
JOBS ?= auto
SOAK_TESTS ?= tests/faults tests/integration tests/property
# Extra arguments for pytest: make test ARGS="-k merge -x".
ARGS ?=
# With ARGS="-k …" one of the runs may have nothing to do: pytest ends with 5 then.
none_selected = || { [ $$? -eq 5 ] && [ -n '$(subst ','\'',$(ARGS))' ]; }
say = @printf '\n==> %s\n' '$(1)'

.PHONY: help install compile demo test test-fast conformance drills lint format types bench bench-matching soak docs wheel chart image-check lock clean

help: ## List the targets
	@printf 'Elo. Targets:\n\n'
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nOptions: DEMO_SECONDS=60 make demo | make test ARGS="-k merge" | SOAK_SECONDS=3600 make soak | TEST_MINUTES=20 make soak\n'
	@printf '         BENCH_N=400000 BENCH_SYSTEMS="elo raw" BENCH_RATE=2000 make bench | PYTHON=python3.12 make install\n'

install: $(STAMP) ## Create .venv and install what the lock file names (quick when nothing changed)
	@$(BIN)/python deploy/compile_core.py || true
	@echo '==> $(VENV) is up to date'

# The stamp is as new as the project file and the lock: nothing is installed again before one of them changes.
$(STAMP): pyproject.toml $(LOCK) deploy/install.sh
	@bash deploy/install.sh '$(VENV)' '$(LOCK)'
	@touch $@

compile: $(STAMP) ## Compile the core anew after a change of it (half a minute; without it plain Python runs)
	@$(BIN)/python deploy/compile_core.py

demo: $(STAMP) ## Broker, worker and a live shop; DEMO_SECONDS=60 ends by itself with a checked summary
	@$(BIN)/elo demo

test: $(STAMP) ## Unit, property, integration and fault tests (under 15 minutes)
	$(call say,Tests without a broker: $(CORE_TESTS))
	@$(PYTEST) -n $(JOBS) --dist worksteal $(CORE_TESTS) --durations=10 $(ARGS) $(none_selected)
	$(call say,Tests on a real Kafka: $(KAFKA_TESTS))
	@$(PYTEST) -n 2 --dist loadfile $(KAFKA_TESTS) --durations=10 $(ARGS) $(none_selected)
	$(call say,Faults: $(FAULT_TESTS))
	@$(PYTEST) $(FAULT_TESTS) --durations=10 $(ARGS) $(none_selected)

test-fast: $(STAMP) ## Unit and property tests only (no broker)
	@$(PYTEST) -n $(JOBS) --dist worksteal $(CORE_TESTS) $(ARGS)

conformance: $(STAMP) ## Unmodified SDKs of Segment, RudderStack and others against elo collect (installs them)
	@$(PYTEST) tests/conformance -m conformance $(ARGS)

drills: $(STAMP) ## Every alert provoked, on a real Prometheus and Alertmanager (six minutes; both must be installed)
	@$(PYTEST) tests/drills tests/integration/test_prometheus.py -m soak -s --durations=20 $(ARGS)

lint: $(STAMP) ## ruff: rules and format
	$(call say,ruff check)
	@$(BIN)/ruff check .
	$(call say,ruff format --check)
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict, on the pure core and the wire formats
	$(call say,mypy --strict)
	@$(BIN)/mypy

bench: $(STAMP) ## Reference job, latency and restore; a table, and build/bench.jsonl
	$(call say,Benchmarks (BENCH_N, BENCH_SYSTEMS and BENCH_RATE change the job))
	@mkdir -p build
	@$(BIN)/python -m tests.bench

bench-matching: $(STAMP) ## Matching on the labelled sets of MATCHING_SETS, beside Splink if it installs
	$(call say,Matching (MATCHING_SETS and MATCHING_ORDERS change the job))
	@mkdir -p build
	@test -x build/splink/bin/python || { $(BIN)/python -m venv build/splink && build/splink/bin/pip install --quiet 'splink==5.0.0'; } \
		|| { rm -rf build/splink; echo 'Splink cannot be installed here'; }
	@$(BIN)/python -m tests.bench.matching

soak: $(STAMP) ## Hours of load with faults; SOAK_SECONDS=120 for a short form
	$(call say,Soak ($(or $(SOAK_SECONDS),default) seconds))
	@$(PYTEST) $(SOAK_TESTS) -m 'soak or slow' -s $(ARGS)

docs: $(STAMP) ## Print the tables of the reference pages, the schemas, the rules and the dashboards anew
	@$(BIN)/python deploy/prometheus/rules.py
	@$(BIN)/python -m tests.support.doc_tables
	@$(BIN)/python deploy/grafana/dashboards.py

wheel: $(STAMP) ## Build the wheel into build/dist
	$(call say,Wheel)
	@rm -rf build/dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/dist .
	@ls -l build/dist

# The version that was tested; any Helm 3 on the PATH does. Go takes about three minutes for it on one core, once.
HELM_VERSION ?= v3.22.0
build/tools/helm:
	@command -v helm >/dev/null || command -v go >/dev/null || { echo 'make chart needs helm, or Go to build it with' >&2; exit 1; }
	@mkdir -p build/tools
	@if command -v helm >/dev/null; then ln -s "$$(command -v helm)" $@; \
	  else GOBIN='$(CURDIR)/build/tools' go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION); fi

chart: $(STAMP) build/tools/helm ## Helm chart and Compose file against the schemas of those who read them
	@$(PYTEST) tests/unit/test_deployment.py -n $(JOBS) $(ARGS)

image-check: $(STAMP) ## What the Dockerfile does, as far as that goes without Docker
	$(call say,The image without Docker)
	@PYTHON="$${PYTHON:-$$($(BIN)/python -c 'import sys; print(sys._base_executable)')}" bash deploy/check_image.sh

lock: ## Resolve the dependencies of pyproject.toml anew into the two lock files (needs .venv)
	@test -x $(BIN)/uv || { echo 'make lock needs uv inside .venv: run make install first.' >&2; exit 1; }
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' --python-version 3.11 --extra otel --group dev -o $(LOCK) pyproject.toml $(ARGS)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' --python-version 3.11 --extra otel -c $(LOCK) -o $(LOCK_RUNTIME) pyproject.toml
	@wc -l $(LOCK) $(LOCK_RUNTIME)

clean: ## Remove what was built here: .venv, build, caches (not your data, not the user's cache)
	@rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
