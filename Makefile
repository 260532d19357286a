# Agora's commands. `make help` lists them; LANE=motor runs any of them on the other driver lane.
SHELL := /bin/sh
.DEFAULT_GOAL := help

LANE ?= pymongo
PORT ?= 8000
DATA ?= .agora
SCALE ?= 1
# Processes that share the tests; 0 runs them in one.
WORKERS ?= 2

VENV   := .venv/$(LANE)
PY     := $(VENV)/bin/python
READY  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
AXE    := tests/node_modules/.package-lock.json
SOURCES := models services api scripts tests
# A file stays with one process, which makes what its tests share once; files go out in their order, the long ones not last.
# A worker that dies ends the run: one that is begun anew would leave xdist waiting for ever.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart=0
# What Python compiled is kept: the programs that tests start compile the same files again and again.
unexport PYTHONDONTWRITEBYTECODE
export AGORA_DATA := $(DATA)
export PYTHONPATH := $(CURDIR)

.PHONY: help install run worker seed simulate import demo test test-pages check format lint typecheck cov bench bench-analytics stress stress-buyers stress-crash stress-checkout stress-jobs stress-payments stress-races reconcile reconcile-payments rollups indexes openapi fuzz clean

help: ## list the commands
	@echo "make COMMAND [LANE=pymongo|motor] [PORT=8000] [DATA=.agora] [PYTHON=python3]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml constraints/$(LANE).txt scripts/install.sh
	@sh scripts/install.sh $(LANE) $(VENV)
	@touch $@

$(DEV): $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints/$(LANE).txt -e '.[dev]'
	@touch $@

# What looks at the pages for those who see or type differently; its test fails where it is missing.
$(AXE): tests/package.json tests/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --prefix tests && touch $@; else echo "No npm: axe-core is not installed." >&2; fi

install: $(READY) ## create the virtual environment and install the lane's pinned packages

run: $(READY) ## start everything: database, sample data, API and worker
	@exec $(PY) -m scripts.serve --port $(PORT)

worker: $(READY) ## run the background jobs and event consumers alone
	@exec $(PY) -m scripts.worker

seed: $(READY) ## fill in the sample data (SCALE=1|10|100)
	@exec $(PY) -m scripts.seed --scale $(SCALE)

import: $(READY) ## bring a CSV of products or order lines in: FILE=... [FORMAT=auto|woocommerce|shopify|medusa|retail] [CURRENCY=GBP]
	@exec $(PY) -m scripts.imports "$(FILE)" $(if $(FORMAT),--format $(FORMAT)) $(if $(CURRENCY),--currency $(CURRENCY))

simulate: $(READY) ## play a shop and a publication on a virtual clock: SEED=1 DAYS=30 SCALE=1 [REPORT=file]
	@exec $(PY) -m scripts.simulate --seed $(or $(SEED),1) --days $(or $(DAYS),30) --scale $(SCALE) $(if $(REPORT),--report "$(REPORT)") $(if $(KEEP),--keep) $(if $(FORCE),--force)

demo: $(READY) ## walk through the publication and print it
	@exec $(PY) -m scripts.demo

reconcile: $(READY) ## recompute every stored counter; exits 1 on drift (REPAIR=1 mends it)
	@exec $(PY) -m scripts.reconcile $(if $(REPAIR),--repair)

rollups: $(READY) ## make the figures of reports anew from the orders (CHECK=1 only compares)
	@exec $(PY) -m scripts.rollups $(if $(CHECK),--check)

indexes: $(READY) ## compare the declared indexes with the created ones (CREATE=1 creates the missing)
	@exec $(PY) -m scripts.indexes $(if $(CREATE),--create)

test: $(DEV) ## run every test (WORKERS=2 processes share them; 0 for one alone)
	@exec $(PY) -m pytest $(PARALLEL)

test-pages: $(DEV) $(AXE) ## run the tests that look at the pages in Chromium, which must be installed as npm must (SCREENSHOTS=folder keeps pictures)
	@AGORA_SCREENSHOTS="$(SCREENSHOTS)" exec $(PY) -m pytest -n $(WORKERS) --dist worksteal --max-worker-restart=0 -m browser tests/api/web

check: $(DEV) ## formatting, lint and types
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/mypy $(SOURCES)

format: $(DEV) ## format the code and apply safe fixes
	@$(VENV)/bin/ruff format $(SOURCES)
	@$(VENV)/bin/ruff check --fix-only --quiet $(SOURCES)

lint: $(DEV) ## lint alone
	@$(VENV)/bin/ruff check $(SOURCES)

typecheck: $(DEV) ## mypy alone
	@$(VENV)/bin/mypy $(SOURCES)

cov: $(DEV) ## run every test with branch coverage; fails below the floor
	@exec $(PY) -m pytest $(PARALLEL) --cov --cov-report=term-missing:skip-covered

bench: $(DEV) ## throughput and CPU per request against a bare ASGI program, as ratios
	@exec $(PY) -m scripts.bench

stress: $(DEV) ## a thousand simulated people over HTTP, and a report: PROFILE=steps|mixed [STEPS=50,100,250,500,1000] [SECONDS=30] [SCALE=1]
	@exec $(PY) -m scripts.stress --profile $(or $(PROFILE),steps) $(if $(STEPS),--steps $(STEPS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(THINK),--think $(THINK)) $(if $(TOGETHER),--together) --scale $(SCALE) --report $(or $(REPORT),$(DATA)/stress-$(or $(PROFILE),steps))

bench-analytics: $(DEV) ## what reports cost over 2,000 orders and over ORDERS=50000, as ratios; and 32 readers at once
	@exec $(PY) -m scripts.bench_analytics --orders $(or $(ORDERS),50000)

stress-buyers: $(DEV) ## many buyers over HTTP for few pieces, SEEDS=50 times: double clicks, opposite carts, one key twenty times
	@$(MAKE) --no-print-directory stress-races IN=tests/api/ecommerce/test_rush.py

stress-crash: $(DEV) ## kill a throw-away Agora under load, ROUNDS=20 times; nothing acknowledged may be lost
	@exec $(PY) -m scripts.stress_crash --rounds $(or $(ROUNDS),20)

stress-jobs: $(DEV) ## kill workers while they send 1,000 webhooks; each must arrive, none be stuck
	@exec $(PY) -m scripts.stress_jobs --events $(or $(EVENTS),1000) --kills $(or $(KILLS),10)

stress-races: $(DEV) ## every race with SEEDS=50 seeds, thousands of random lives (IN=tests/services)
	@AGORA_RACE_SEEDS=$(or $(SEEDS),50) AGORA_PATIENCE=1 HYPOTHESIS_PROFILE=thorough exec $(PY) -m pytest -o faulthandler_timeout=0 $(or $(IN),tests/services)

stress-checkout: $(DEV) ## kill database, application and worker while 200 people buy, ROUNDS=20 times; then account for everything
	@exec $(PY) -m scripts.stress_checkout --rounds $(or $(ROUNDS),20)

stress-payments: $(DEV) ## payments in full: 200 lost answers, SEEDS=50 seeds of each race, 2,000 random lives
	@$(MAKE) --no-print-directory stress-races IN=tests/services/payments

reconcile-payments: $(READY) ## compare a gateway's books with ours (GATEWAY=sandbox DAYS=1); exits 1 on a difference
	@exec $(PY) -m scripts.reconcile_payments --gateway $(or $(GATEWAY),sandbox) --days $(or $(DAYS),1)

openapi: $(READY) ## rewrite the committed OpenAPI snapshot
	@exec $(PY) -m scripts.openapi

fuzz: $(DEV) ## a long Schemathesis run over every operation, as anonymous, reader and admin
	@exec $(PY) -m scripts.fuzz

clean: ## remove the virtual environments and caches (the data folder stays)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage build *.egg-info tests/node_modules
