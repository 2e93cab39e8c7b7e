# `make` alone shows this help.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PREPARE := tests/stack/prepare.sh
BIN := .venv/bin
export TESTCONTAINERS_RYUK_DISABLED := true

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## the Python environment .venv, with the development tools
	@$(PREPARE) venv

# DIALPLANE_EXAMPLES=everything, as in `newest`: those that take seconds too, and more examples of each property.
check: venv ## format, lint, types, and the tests that need no server (under a minute)
	$(BIN)/ruff format --check --quiet controller tests
	$(BIN)/ruff check --quiet controller tests
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto --dist loadfile $(if $(DIALPLANE_EXAMPLES),,-m "not thorough") $(wildcard tests/unit tests/cases tests/golden tests/property tests/database)

stack: ## what the machine lacks, the images, the stack (no calls yet)
	@$(PREPARE) up

test: ## everything, from nothing: check, the stack, contract tests and live tests on the real servers
	@tests/stack/test.sh

newest: venv ## the tests of `check` under the Python of the images
	@docker compose --profile check --progress quiet build check
	@docker compose --profile check run --rm check

bench: venv ## the figures: bench.json and a table; fails when a bound is missed
	@$(PREPARE)
	$(BIN)/python -m tests.bench

demo: stack ## the whole thing, told as a story with real calls; leaves the stack running
	@$(BIN)/python -m tests.stack.demo

down: ## remove every trace of the stack from this machine
	@$(PREPARE) remove

.PHONY: help venv check newest stack test bench demo down
