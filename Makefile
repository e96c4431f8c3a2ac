# The front door. `make help` lists what there is; each target is one line of cargo or one script.
export CARGO_TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(HOME)/.cache/fitme/target)
# Queries are checked against the committed .sqlx files, so that a build needs no database.
export SQLX_OFFLINE := $(or $(SQLX_OFFLINE),true)
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# On a laptop cargo may bring Cargo.lock up to date; in CI a stale one is an error.
LOCKED := $(if $(CI),--locked)
STAGE := scripts/stage
# What the servers and devices of a test run log; searched when it is over.
LOGS := $(CARGO_TARGET_DIR)/test-logs

CHAOS := $(CARGO_TARGET_DIR)/debug/chaos

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-tests build run test test-root test-all sim mutants chaos fuzz bench sqlx clean-data

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## Install what building and running needs, if anything is missing
	@scripts/setup

setup-tests:
	@scripts/setup --tests

build: setup ## Build the server and the command line client
	@$(STAGE) build cargo build -p sync-server -p fitme-client $(LOCKED)

run: build ## Build, start a server and play the main job with two devices (ARGS=... goes to scripts/run)
	@scripts/run $(ARGS)

test: setup-tests ## Every check and every test that needs no root
	@$(STAGE) format cargo fmt --all --check
	@$(STAGE) format cargo fmt --manifest-path fuzz/Cargo.toml --check
	@$(STAGE) tidy scripts/check
	@$(STAGE) lint cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	@$(STAGE) queries scripts/sqlx-prepare --check
	@$(STAGE) test-build cargo test --workspace --no-run $(LOCKED)
	@rm -rf $(LOGS)
	@FITME_TEST_LOGS=$(LOGS) $(STAGE) test cargo test --workspace $(LOCKED)
	@$(STAGE) logs scripts/search-logs $(LOGS)
	@$(STAGE) chaos $(CHAOS) --seconds 60
	@$(STAGE) fuzz scripts/fuzz 12

test-root: setup-tests ## Only the tests that need root, such as those on a full disk
	@[ "$$(id -u)" = 0 ] || { echo "test-root: these tests mount file systems and change users, so they need root: run it with sudo." >&2; exit 1; }
	@FITME_TEST_ROOT=1 $(STAGE) test-root cargo test --workspace --tests $(LOCKED) needs_root -- --include-ignored

test-all: test test-root ## make test, then make test-root

sim: setup ## Run whole worlds from seeds (SEEDS=10000; FIRST= begins elsewhere; REPLAY='line' shows one)
	@cargo run --quiet -p fitme-testing --bin sim $(LOCKED) -- $(if $(REPLAY),replay '$(REPLAY)',$(or $(FIRST),0) $(or $(SEEDS),200))

mutants: setup ## See that the simulator finds every bug planted by testing/mutants (NAMES=..., SEEDS=400)
	@scripts/mutants $(NAMES)

chaos: build ## Kill servers, devices and the database for SECONDS (300), then look for what is lost (SEED=n replays a run)
	@cargo build -p fitme-testing --bin chaos $(LOCKED)
	@$(CHAOS) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

fuzz: setup-tests ## Read made-up input for SECONDS (600) a decoder, guided by coverage (FUZZ=frame for one of them)
	@scripts/fuzz $(or $(SECONDS),600) $(FUZZ)

bench: setup ## Measure beside the bare libraries (BENCH=row for one row of docs/benchmarks.md)
	@cargo run --release -p fitme-bench $(LOCKED) -- $(BENCH)

sqlx: setup ## Renew the committed query descriptions in .sqlx after a query or a migration changed
	@scripts/sqlx-prepare

clean-data: ## Delete the local server's data and its example devices (FITME_DATA, by default .fitme)
	@scripts/clean-data
