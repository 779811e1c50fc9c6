# The commands of this project; `make` lists them. `.env` may set any variable.
-include .env

PYTHON ?= python3
DEBUG ?= 1
export

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run demo gateway bridge backend admin test check audit coverage fuzz chaos production attack bridges bench bench-compare bench-operators screenshots format translations outdated release clean bench-cluster bench-newcomer clients npm-package docs

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

run: $(VENV)/run ## start the gateway on http://localhost:8080 (PORT=, WORKERS=, REDIS_URL=, ...)
	@$(BIN)/python manage.py migrate -v 0
	@$(BIN)/python -m gateway

demo: $(VENV)/run ## the same with a back end that answers, and with examples that run: examples/
	@$(BIN)/python manage.py migrate -v 0
	@$(BIN)/python -m gateway --demo

gateway: $(VENV)/run ## one more gateway, beside `make run`; PORT=8081
	@exec $(BIN)/python -m gateway.workers

bridge: $(VENV)/run ## one more bridge
	@exec $(BIN)/python manage.py bridge

backend: $(VENV)/run ## one more back end that answers, examples/backend.py
	@exec $(BIN)/python examples/backend.py

admin: $(VENV)/run ## make an account for the admin and the API
	@$(BIN)/python manage.py migrate -v 0
	@$(BIN)/python manage.py createsuperuser

test: $(VENV)/dev ## run all tests; ARGS= goes to pytest
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev ## what CI runs: format, lint, types, layers, audit, settings, migrations, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py
	DEBUG=0 SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	  ALLOWED_HOSTS=gateway.example $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest $(ARGS)

audit: $(VENV)/dev ## look for unsafe code, and for known vulnerabilities of what is installed
	@$(BIN)/python .ci/audit.py

coverage: $(VENV)/dev ## how much of each room its tests reach in this process; a table
	@$(BIN)/coverage run -m pytest -q --ignore=tests/e2e --ignore=tests/packaging $(ARGS)
	@$(BIN)/coverage report

fuzz: $(VENV)/dev ## throw random frames at the protocol and at sessions, and requests at the API; SECONDS=
	@$(BIN)/python -m tests.kit.fuzz_stomp --costs --seconds $(or $(SECONDS),60)
	@FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -q -s tests/sessions/test_fuzz.py
	@FUZZ_EXAMPLES=$$((10 * $(or $(SECONDS),60))) $(BIN)/python -m pytest -q tests/api/test_schema_fuzz.py

chaos: $(VENV)/dev ## kill Redis and gateways under 200 clients for ten minutes, then check them all; SECONDS= SEED=
	@$(BIN)/python -m tests.e2e.chaos --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

production: $(VENV)/dev ## restart what docker-compose.yml starts, one after the other, under a thousand clients; CLIENTS=
	@PRODUCTION_CLIENTS=$(or $(CLIENTS),1000) $(BIN)/python -m pytest -q -s tests/e2e/test_production.py

attack: $(VENV)/dev ## attack a gateway in some thirty ways, and look what it costs honest clients; SECONDS= ARGS="--only pings"
	@$(BIN)/python -m tests.e2e.attack --seconds $(or $(SECONDS),20) $(ARGS)

bridges: $(VENV)/dev ## kill bridges while a stream passes, and look whether anything is missing; KILLS=
	@KILLS=$(or $(KILLS),50) $(BIN)/python -m pytest -q -s tests/e2e/test_bridge_chaos.py

bench: $(VENV)/dev ## measure the gateway beside other servers; ARGS="--quick --only fan-out", or ARGS=--write for RESULTS.md
	@$(BIN)/python -m benchmarks $(ARGS)

bench-operators: $(VENV)/dev ## measure what operators wait for, with 10 000 sessions on two nodes; ARGS="--sessions 1000"
	@$(BIN)/python -m benchmarks.operators $(ARGS)

bench-newcomer: $(VENV)/dev ## time the way from a fresh clone to the first message in a browser
	@$(BIN)/python -m benchmarks.newcomer

bench-cluster: $(VENV)/dev ## measure what a publish costs all nodes of a Redis Cluster; ARGS="--quick"
	@$(BIN)/python -m benchmarks.cluster $(ARGS)

bench-compare: $(VENV)/dev ## measure another revision and this checkout by turns; REV= or OLD=folder, ARGS="--rounds 3"
	@if [ -n "$(OLD)" ]; then exec $(BIN)/python -m benchmarks.compare --old "$(OLD)" --new . $(ARGS); fi; \
	  folder=$$(mktemp -d) && trap 'exit 130' INT TERM && \
	  trap 'git worktree remove --force "$$folder/old"; rmdir "$$folder"' EXIT && \
	  git worktree add -q --detach "$$folder/old" $(or $(REV),HEAD) && \
	  $(BIN)/python -m benchmarks.compare --old "$$folder/old" --new . $(ARGS)

clients: $(VENV)/dev ## run the programs of docs/clients.md, with npm, go and mvn where they are installed; ARGS="-k go"
	@CLIENTS_LONG=1 $(BIN)/python -m pytest -q -rs tests/e2e/clients $(ARGS)

npm-package: ## pack what pages import from npm, stomp-gateway-client, into build/; docs/clients.md
	@mkdir -p build
	@cd clients/javascript && npm pack --silent --pack-destination ../../build

docs: $(VENV)/docs ## make the documents a site, in build/site; every link is looked at
	@$(BIN)/mkdocs build --strict --quiet

screenshots: $(VENV)/dev ## look at every page: into build/screenshots, narrow and wide, light and dark
	@SCREENSHOTS=build/screenshots $(BIN)/python -m pytest -q tests/e2e/test_screenshots.py tests/e2e/test_examples.py -k is_kept

format: $(VENV)/dev ## put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

translations: $(VENV)/dev ## bring the catalogues up to date with what pages and scripts say, and compile them
	@$(BIN)/python -m tests.kit.catalogues

outdated: $(VENV)/dev ## list pinned packages that have newer versions, also those for a newer Python
	@$(BIN)/python .ci/outdated.py

release: $(VENV)/release ## make sdist, wheel and SBOM of this version, in dist/
	@$(BIN)/python .ci/release.py

clean: ## remove what the commands made, except the database
	rm -rf $(VENV) .data build dist *.egg-info *.whl .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "python3 3.11 or later is needed; make PYTHON=/path/to/python3 names another"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "python3 lacks venv: install it (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements.txt requirements-production.txt | $(VENV)/bin/python
	@echo "installing what requirements.txt lists (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements-opentelemetry.txt $(VENV)/run
	@echo "installing what requirements-dev.txt lists (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/release: requirements-release.txt | $(VENV)/bin/python
	@echo "installing what requirements-release.txt lists (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-release.txt
	@touch $@

$(VENV)/docs: requirements-docs.txt | $(VENV)/bin/python
	@echo "installing what requirements-docs.txt lists (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	@touch $@
