# Every target sets up what it needs. It takes Python 3.11, 3.12 or 3.13, make and a package index; nothing else.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := service $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
MANIFESTS := $(PACKAGES:%=%/pyproject.toml)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(SUPPORTED)' >/dev/null 2>&1 && { command -v $$p; break; }; done)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: install
install: $(STAMP) ## .venv with the service, every plugin and the development tools (PYTHON= chooses the interpreter)

$(STAMP): requirements.lock $(MANIFESTS)
	@say() { echo "make install: $$*" >&2; exit 1; }; \
	python='$(PYTHON)'; log=$(VENV)/install.log; \
	[ -n "$$python" ] || say "no Python >= 3.11 and < 3.14 found; install one, or name it: make install PYTHON=/path/to/python3"; \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null || say "$$python is not a Python >= 3.11 and < 3.14"; \
	if ! $(BIN)/python -c '$(SUPPORTED)' >/dev/null 2>&1 || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		"$$python" -m venv --clear $(VENV) >/dev/null 2>&1 || \
			say "$$python cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)"; \
	fi; \
	echo "make install: installing into $(VENV) with $$($(BIN)/python --version); it takes a minute or two"; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(BIN)/python -m pip install --quiet --only-binary :all: --require-hashes -r requirements.lock >$$log 2>&1 && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=-e ./%) >>$$log 2>&1 || \
		{ grep -q 'WARNING: Retrying' $$log && say "the package index cannot be reached (the details are in $$log)" || \
		say "$$(grep '^ERROR' $$log | tail -1 | cut -c1-300) (the details are in $$log)"; }
	@touch $@

.PHONY: demo
demo: $(STAMP) ## a real query through both Flyte protocols, against a BigQuery emulator
	@$(BIN)/python demo/run_demo.py $(ARGS)

.PHONY: serve
serve: $(STAMP) ## the server, in the foreground (ARGS="--port 8000 …")
	@$(BIN)/connectors serve $(ARGS)

WORKERS ?= 3
# They load the machine themselves, and bound how long others wait meanwhile: one after the other, when all else is done.
ALONE := tests/chaos tests/hostile

.PHONY: test
test: $(STAMP) ## every test, with coverage (ARGS= for pytest, e.g. ARGS="tests/wire -k status"; WORKERS=1 for one at a time)
	@$(BIN)/coverage erase
	@# most tests wait for most of their time
	$(BIN)/coverage run -m pytest --numprocesses=$(WORKERS) --dist=loadfile $(if $(ARGS),$(ARGS),$(ALONE:%=--ignore=%))
	$(if $(ARGS),,$(BIN)/coverage run -m pytest $(ALONE))
	@$(BIN)/coverage combine --quiet
	@# a part of the suite covers a part of the code: the bound is for all of it
	$(BIN)/coverage report $(if $(ARGS),--fail-under=0,)

.PHONY: bench
bench: $(STAMP) ## how fast it is, beside the reference service and raw grpclib; then what the stores add (ARGS=--quick, --help)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## the chaos tests at ten times their size, then the reference service through the same scenarios
	CHAOS_SCALE=$${CHAOS_SCALE:-10} $(BIN)/python -m pytest --override-ini=timeout=1800 tests/chaos $(ARGS)
	@$(BIN)/python -m benchmarks.reference

COMPOSE ?= docker compose
STACK_TEST = $(BIN)/python -m pytest -p no:cacheprovider tests/deploy/stack.py

.PHONY: compose-test
compose-test: $(STAMP) ## the compose stack: built, brought up, tested, taken down (COMPOSE= the command; STACK=up tests what runs)
ifeq ($(STACK),up)
	COMPOSE='$(COMPOSE)' $(STACK_TEST)
else
	@# a project of its own: what `docker compose up` keeps is left alone
	compose='$(COMPOSE) --project-name connectors-test'; trap "$$compose --profile demo down --volumes" EXIT; \
	$$compose --profile demo up --build --wait && COMPOSE="$$compose" $(STACK_TEST)
endif

.PHONY: soak
soak: $(STAMP) ## ten minutes of 300 calls/s with faults: is memory flat, is any task lost (SOAK_SECONDS=, ARGS=--help)
	@$(BIN)/python -m benchmarks.soak $(ARGS)

.PHONY: check
check: $(STAMP) ## what CI checks beside the tests: lint, format, types, import contracts, generated code, the guide's links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) proto-check
	$(BIN)/python docs/generate_settings.py --check
	$(BIN)/python docs/generate_benchmarks.py --check
	$(MKDOCS) --quiet --site-dir build/site

MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: docs
docs: $(STAMP) ## the guide, in site/, with its tables of settings and of measurements made anew
	$(BIN)/python docs/generate_settings.py
	$(BIN)/python docs/generate_benchmarks.py
	$(MKDOCS) --quiet
	@echo "make docs: it is in site/; $(BIN)/python -m http.server --directory site serves it"

.PHONY: proto
proto: $(STAMP) ## generate the code from proto/
	$(BIN)/python proto/generate.py

.PHONY: proto-check
proto-check: $(STAMP) ## compare the committed generated code with a fresh generation
	$(BIN)/python proto/generate.py --check

# The locks keep their versions; ARGS=--upgrade takes the newest, ARGS="--upgrade-package NAME" one package.
# They name no index: the one that pip is configured with, if any, is only used. The image's versions are the suite's.
LOCK = index=$$($(BIN)/python -m pip config get global.index-url 2>/dev/null) && export UV_DEFAULT_INDEX="$$index"; \
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url $(MANIFESTS) \
	$(foreach p,$(MANIFESTS),--no-emit-package $$(sed -n 's/^name = "\(.*\)"/\1/p' $(p))) \
	--custom-compile-command "make lock" $(ARGS) >/dev/null

.PHONY: lock
lock: $(STAMP) ## resolve both requirements.lock anew from every pyproject.toml
	@$(LOCK) --group pyproject.toml:dev --all-extras --output-file requirements.lock
	@$(LOCK) --group pyproject.toml:image --extra redis --extra postgresql --extra kubernetes --extra otel --constraint requirements.lock \
		--output-file service/requirements.lock

.PHONY: wheels
wheels: $(STAMP) ## wheel and source archive of every package, in dist/
	@rm -rf dist
	@for package in $(PACKAGES); do $(BIN)/python -m build --no-isolation --outdir dist $$package || exit 1; done

.PHONY: sbom
sbom: $(STAMP) ## what the image and each wheel are made of, as CycloneDX, in build/sbom
	@$(BIN)/python sbom/generate.py $(ARGS)

.PHONY: scan
scan: $(STAMP) ## what can be looked for without a network: faults of the Dockerfile; what cannot is said
	$(BIN)/hadolint --failure-threshold info service/Dockerfile
	@echo "make scan: known vulnerabilities were NOT looked for: their databases are on the network and in no package index."
	@echo "make scan: SECURITY.md says which scanners read the locks and build/sbom, and how."

.PHONY: clean
clean: ## remove .venv and everything that was built or cached
	rm -rf $(VENV) dist build site .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
