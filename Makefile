# The commands of the README. Each installs what it needs first; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup documents python build demo demo-distributed test test-long lint fuzz bench clean

# nextest runs tests in parallel processes; without it cargo's own runner does.
RUNNER := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo nextest run || echo test)

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: ## Install what building and testing need
	@scripts/setup.sh

documents: ## Fetch the documents of the judged questions into ~/.cache/callboard
	@scripts/corpus.sh

python: ## Make the environments of the AG2 example and of the OpenAI client in ~/.cache/callboard
	@scripts/python.sh >/dev/null && scripts/python.sh tests/openai_clients/requirements.txt >/dev/null

build: setup ## Build the program into target/release
	cargo build --release --locked

demo: setup ## Four agents answer a question over this project's documentation
	cargo build --release --locked
	@cargo run --release --locked --quiet -- demo

demo-distributed: setup ## The same by processes: Redis, a gateway, two masters, four workers
	cargo build --release --locked
	@cargo run --release --locked --quiet -- demo --distributed

test: setup documents python ## All tests, the long ones in their short form
	cargo $(RUNNER) --locked
	cargo test --locked --doc

test-long: setup documents python ## All tests, the long ones in full: 100,000 schedules, 20 rounds of kill -9, 4,000 losses of power
	CALLBOARD_SCHEDULES=100000 CALLBOARD_KILL_ROUNDS=20 CALLBOARD_CUTS=4000 CALLBOARD_CRASH_ROUNDS=30 cargo $(RUNNER) --locked --no-fail-fast

lint: setup ## Format, clippy, dependencies, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then \
	  cargo deny --locked check bans licenses sources && { cargo deny --locked check advisories || \
	  { cargo deny fetch db >/dev/null 2>&1 && exit 1 || echo "lint: the advisories cannot be reached; skipped"; }; }; \
	else echo "lint: no cargo-deny; tests/dependencies.rs holds its rules"; fi
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

fuzz: setup ## Throw generated requests at the API
	@scripts/schemathesis.sh

bench: build ## Whole tasks per second on this machine, three rounds, with medians
	@scripts/bench.sh

bench-parts: setup ## The core, the actor layer and the stores by themselves, with criterion
	cargo bench --locked

clean: ## Remove what was built
	cargo clean
