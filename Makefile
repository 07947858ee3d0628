# Everything a developer or an analyst does here. A bare `make` prints the targets.

PYTHON ?= python3
WAREHOUSE_HOME ?= $(shell sed -n 's/^WAREHOUSE_HOME=//p' .env 2>/dev/null)
WORKERS ?= 2
HOME_DIR := $(or $(WAREHOUSE_HOME),.warehouse)
VENV := .venv
RUN := $(VENV)/bin/python
TEST := $(RUN) -m pytest -n $(WORKERS) --dist loadgroup
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(RUN) -m pip install --quiet --use-pep517
COMPILE := ../$(VENV)/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--allow-unsafe --strip-extras --no-header

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-fast test-recovery test-stack lint soak bench lock clean env up down cluster-demo

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.setup ## make .venv with all that the warehouse needs, Java and Postgres included

setup-dev: $(VENV)/.setup-dev ## add what tests, linters and benchmarks need

demo: setup ## run a small warehouse from landing files to views; DATA=file.xlsx replays real data
	@$(RUN) -m scripts.demo $(if $(DATA),--data "$(DATA)")

test: lint ## lint, then the tests of what becomes of what lands
	@$(TEST)

test-recovery: setup-dev ## runs that are killed, back-ups and restores, what was lost and is made anew
	@$(TEST) tests/recovery

test-fast: setup-dev ## the tests that are not slow
	@$(TEST) --one-session -m 'not slow'

lint: setup-dev ## ruff, mypy, sqlfluff, and shellcheck where it is installed
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --quiet --check . || { echo "not formatted: run $(VENV)/bin/ruff format ." >&2; exit 1; }
	@$(RUN) -m mypy --no-error-summary
	@$(VENV)/bin/sqlfluff lint --disable-progress-bar postgres
	@! command -v shellcheck > /dev/null || shellcheck scripts/*.sh jenkins/*.sh spark/bin/role spark/bin/healthy .ci/run

soak: setup-dev ## the property tests with many more examples, bugs planted for them to find, and more kills
	@HYPOTHESIS_PROFILE=soak $(TEST) tests/properties/planted_bugs.py \
		tests/properties/test_promise.py tests/recovery/test_kills.py

env: ## .env and random passwords in secrets/, where they are missing
	@scripts/make_env.sh

up: ## build and start the cluster, wait until it is healthy, create what is missing; CA=file.pem for a company's own
	@CA="$(CA)" scripts/stack.sh up

cluster-demo: ## the demo's ten days on the cluster, through the wrappers
	@scripts/compose.sh exec $$([ -t 1 ] || echo -T) spark-client python -m scripts.cluster_demo

down: ## stop the cluster and keep its data; VOLUMES=1 deletes it, and asks first
	@scripts/stack.sh down $(if $(VOLUMES),--volumes)

test-stack: setup-dev ## build the images, bring a cluster up, put it through its tests and take it down
	@$(RUN) -m pytest -p no:xdist --timeout=1800 tests/stack

bench: setup-dev ## one benchmark: make bench NAME=asof
	@test -f "benchmarks/$(NAME).py" || { echo "make bench NAME=one of:" \
		$(filter-out __init__,$(basename $(notdir $(wildcard benchmarks/*.py)))) >&2; exit 2; }
	@$(RUN) -m benchmarks.$(NAME)

lock: setup-dev ## renew the lock files from requirements/*.in
	@cd requirements && for name in runtime jre dev; do echo "locking $$name"; \
		$(COMPILE) --output-file $$name.lock $$name.in || exit 1; done

clean: ## stop the embedded server and remove all that was made here, the data too
	@PYTHONPATH=spark $(PYTHON) -B -c 'import sys, pathlib, warehouse.embedded as embedded; \
		embedded.stop_gold(pathlib.Path(sys.argv[1]))' "$(HOME_DIR)"
	@if [ "$(HOME_DIR)" = .warehouse ] || [ -f "$(HOME_DIR)/.postgres.lock" ]; then rm -rf "$(HOME_DIR)"; fi
	@rm -rf $(VENV) build spark/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		spark-warehouse metastore_db derby.log
	@find . -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +
	@echo "clean: removed $(VENV), $(HOME_DIR) and the caches"

# Stamps: written last, so that a setup that failed starts again, and one that is done costs nothing.

$(VENV)/.setup: requirements/runtime.lock requirements/jre.lock pyproject.toml spark/conf/jars.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || \
		{ echo "setup: $(PYTHON) is missing or older than 3.11; name another with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || \
		{ echo "setup: $(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@rm -f $@ $(VENV)/.setup-dev
	@echo "setup: $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "setup: packages (PySpark is large: a minute or two)"
	@$(PIP) --require-hashes -r requirements/runtime.lock
	@PYTHONPATH=spark $(RUN) -c 'import sys, warehouse.java as java; \
		sys.exit(java.system_java() is None)' || \
		{ echo "setup: Java (found neither 17 nor 21)"; $(PIP) --require-hashes -r requirements/jre.lock; }
	@$(PIP) --no-deps --no-build-isolation -e .
	@echo "setup: jars"
	@$(RUN) -m warehouse.java
	@echo "setup: a first run, for Java to start faster from now on"
	@$(RUN) -m scripts.class_archive
	@touch $@
	@echo "setup: done"

$(VENV)/.setup-dev: $(VENV)/.setup requirements/dev.lock
	@echo "setup: test and lint tools"
	@$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@
