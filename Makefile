# Needs only Python 3.11 to 3.13 with the venv module. `make` lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS ?= .peers
CYCLONEDX ?= 7.5.0
AXE ?= 4.14.1

export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start many interpreters; without compiled files each of them compiles the project again, for a second.
unexport PYTHONDONTWRITEBYTECODE
export FEDSYNTH_PEERS ?= $(PEERS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# `make lint test` runs one after the other, also under -j: the output ends with the test summary.
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## Create .venv with the locked dependencies and fedsynth in editable form

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found; name a Python with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "fedsynth needs Python 3.11 to 3.13 and $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
			"name another with make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch is installed first and alone: where pip is configured to find a CPU build, no other package pulls in a larger one.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: demo
demo: setup ## Run the built-in four-hospital study and print where its report is
	$(BIN)/fedsynth simulate --out out/demo --force

.PHONY: test
test: setup ## Run the quick tests; `common` must stay covered to 90 %
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" \
		--cov=common --cov-report=term-missing:skip-covered --cov-fail-under=90

.PHONY: test-all
test-all: setup ## Run every test, including the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: axe
axe: ## Bring axe-core into .axe/, with which slow tests inspect the consoles' pages; needs npm
	mkdir -p .axe
	cd .axe && npm pack --silent axe-core@$(AXE) > /dev/null
	tar xzf .axe/axe-core-$(AXE).tgz -C .axe --strip-components 1 package/axe.min.js package/LICENSE
	rm .axe/axe-core-$(AXE).tgz

.PHONY: lint
lint: setup ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: audit
audit: setup ## Attack the built-in study's mechanisms; fails if a privacy claim is refuted
	OMP_NUM_THREADS=1 $(BIN)/fedsynth audit --out out/audit

.PHONY: benchmark
benchmark: setup ## Compare federated, centralized, local-only and baselines; resumes where it stopped
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run $(BENCHMARK)

.PHONY: benchmark-smoke
benchmark-smoke: setup ## Run a minute of the same, to see whether everything works
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run --smoke

.PHONY: evidence
evidence: setup ## Measure the cases that docs/results-tables.md lacks and fill its tables; needs FEDSYNTH_DATA and `make peers`
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run --out docs/evidence $(EVIDENCE) \
		--arms $$($(BIN)/python -c 'from simulations.benchmark.evidence_tables import WANTED; print(",".join(WANTED))')
	$(BIN)/python -m simulations.benchmark.evidence_tables docs

.PHONY: benchmark-quality
benchmark-quality: setup ## Measure the tables that fedsynth makes; needs FEDSYNTH_DATA=folder of clinical tables
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run --tables flchain,heart-disease --arms bootstrap,central,local-4 $(QUALITY)

.PHONY: benchmark-federation
benchmark-federation: setup ## Measure what sharing noise between hospitals saves; needs FEDSYNTH_DATA=folder of clinical tables
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run --tables flchain --epsilons 1,3 --out out/federation \
		--arms central,local-4,distributed-4,central-like-4,distributed-4-dropout,central-like-4-dropout,distributed-4-skewed $(FEDERATION)
	OMP_NUM_THREADS=1 $(BIN)/fedsynth benchmark run --tables flchain --epsilons 3 --out out/federation \
		--arms distributed-3,distributed-8,distributed-25,local-3,local-8,local-25 $(FEDERATION)

.PHONY: benchmark-step
benchmark-step: setup ## Print how much longer a private step takes than a plain one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -s tests/common/privacy/test_dpsgd.py -k a_private_step_takes

.PHONY: peers
peers: ## Create .peers, an environment with other projects' synthesizers for `make benchmark`
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(PEERS)/bin/python -m pip install --quiet --requirement simulations/benchmark/peers.txt

.PHONY: rehearsal
rehearsal: setup ## Rehearse a deployment: SuperLink and three sites as real processes, then a report
	OMP_NUM_THREADS=1 $(BIN)/python -m simulations.rehearsal.run --out out/rehearsal $(REHEARSAL)

.PHONY: lock
lock: setup ## Write the hashes of everything that the image installs; on Linux x86-64 with Python 3.11
	$(BIN)/python -m pip install --dry-run --ignore-installed --quiet --report .lock.json \
		--constraint constraints.txt torch setuptools .
	$(BIN)/python docker/lock.py < .lock.json > docker/requirements.lock
	rm .lock.json

.PHONY: sbom
sbom: ## Write out/sbom.cdx.json, a CycloneDX bill of materials of the image's Python packages with their hashes
	$(PYTHON) -m venv .sbom
	.sbom/bin/python -m pip install --quiet cyclonedx-bom==$(CYCLONEDX)
	mkdir -p out
	.sbom/bin/cyclonedx-py requirements docker/requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file out/sbom.cdx.json

.PHONY: image
image: ## Build the image without a container engine and try it: docker/build-without-docker.sh; needs root and Debian
	docker/build-without-docker.sh $(IMAGE)

.PHONY: clean
clean: ## Remove caches and build products; .venv and out/ stay
	rm -rf build dist *.egg-info .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find common client server simulations tests -name __pycache__ -type d -prune -exec rm -rf {} +
