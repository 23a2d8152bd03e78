# The two commands: `make demo` shows it, `make test` proves it. Both set everything up themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Tests mostly wait for real servers, so more of them than cores run side by side.
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint types check unit bench bench-converge bench-fleet bench-backup soak lynis lock histories clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

setup: $(STAMP) system  ## .venv from the lock file, and what a lab needs (as root)

$(STAMP): requirements.lock pyproject.toml
	@sh tools/make-venv $(PYTHON) $(VENV)
	@touch $@

system:
	@sh tools/install-lab-packages

demo: setup  ## a real server, provisioned by a durable workflow; under 5 minutes
	@$(BIN)/python -m examples.demo

test: setup lint types check unit  ## every check and every test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

check: $(STAMP)
	$(BIN)/temporal-ops check

unit: $(STAMP) system
	$(BIN)/pytest -m "not soak" -n $(JOBS) --dist loadfile --durations=15 \
		--cov --cov-report=term:skip-covered

soak: setup  ## the long trials
	$(BIN)/pytest -m soak

lynis: setup  ## what lynis says of a server before and after the role baseline
	$(BIN)/pytest -m soak -s tests/converge/test_lynis.py

bench: setup  ## the figures, as table, JSON and plot, into docs/bench
	$(BIN)/python -m benchmarks

bench-converge: setup  ## against pyinfra and Ansible on the same lab servers; ARGS="--hosts 1 --rtt 0" for a part
	$(BIN)/python -m benchmarks.converge $(ARGS)

bench-fleet: setup  ## fleets of 100, 1,000 and 10,000 hosts; ARGS="--hosts 100" for a part
	$(BIN)/python -m benchmarks.fleet $(ARGS)

bench-backup: setup  ## backups through Temporal against restic alone; ARGS="--turns 3" for fewer
	$(BIN)/python -m benchmarks.backup $(ARGS)

histories: $(STAMP)  ## record the workflow histories anew that the replay tests use
	$(BIN)/python -m tests.temporal.replay.record

lock: $(STAMP)  ## resolve requirements.lock anew, with hashes and without addresses
	$(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header --python-version 3.11 --extra dev \
		pyproject.toml -o requirements.lock

clean:  ## remove the lab's servers, the state and .venv
	-[ ! -x $(BIN)/temporal-ops ] || $(BIN)/temporal-ops lab down
	rm -rf .temporal-ops $(VENV)
