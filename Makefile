# Everything is built in the release profile: gRPC's C core is compiled once
# for each profile, which takes minutes, and its compiled form is large.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/connection-pool-manager/target

# Tests wait for others more than they compute, so twice as many as cores run at a
# time. With four times as many the run is hardly shorter, and each takes longer.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))

CARGO ?= cargo
BINARY = $(CARGO_TARGET_DIR)/release/connection-pool-manager
# A client in a workspace of its own; tests/service/tonic_client.rs builds it.
TONIC = tests/tonic-client
# Arguments for `make demo`, `bench` and `soak`, as in: make demo ARGS="--help"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help deps build demo certs test bench soak lint tables doc

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

deps: ## Install what the build and the tests need (nothing, when it is there)
	@./.ci/install-deps.sh

build: deps ## Build the binary
	$(CARGO) build --release --locked

demo: build ## Run the demo on an ephemeral PostgreSQL; arguments in ARGS
	$(BINARY) demo $(ARGS)

certs: build ## Make a development certificate in certs/
	$(BINARY) dev-certs --dir certs

test: ## Run all tests; some start an ephemeral PostgreSQL
	@./.ci/install-deps.sh tests
	@began=$$(date +%s); $(CARGO) test --release --locked --no-run && \
		built=$$(date +%s) && $(CARGO) test --release --locked && \
		echo "test: built in $$((built - began)) s, run in $$(($$(date +%s) - built)) s"

bench: ## Measure beside PgBouncer, pgbench and psql; arguments in ARGS (--help names them)
	@./.ci/install-deps.sh bench
	@$(CARGO) bench --locked --bench peers -- $(ARGS)

soak: deps ## Do everything at once for ten minutes and print the drift; ARGS=60 for a minute
	@$(CARGO) bench --locked --bench soak -- $(ARGS)

lint: ## Check the formatting, the lints and the dependencies
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --release --all-targets --locked -- -D warnings
	$(CARGO) clippy --release --locked --no-default-features --features client --all-targets \
		-- -D warnings
	$(CARGO) fmt --manifest-path $(TONIC)/Cargo.toml -- --check
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tonic-client $(CARGO) clippy --locked \
		--manifest-path $(TONIC)/Cargo.toml -- -D warnings
	@# RUSTSEC-2024-0437 is in protobuf 2.
	@if grep -A1 '^name = "protobuf"$$' Cargo.lock | grep -q '^version = "[012]\.'; then \
		echo "lint: Cargo.lock has a protobuf older than 3" >&2; exit 1; fi
	@# gRPC's boringssl feature shows in the lock file as this crate.
	@if grep -q '^name = "boringssl-src"$$' Cargo.lock; then \
		echo "lint: Cargo.lock has boringssl-src: build gRPC with the openssl feature" >&2; exit 1; fi
	@# The advisories are left out: their database needs the network and changes
	@# under an unchanged commit. `cargo deny check advisories` looks at them.
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "lint: cargo-deny is not installed, so deny.toml was not checked"; fi

tables: ## Write the tables of settings into docs/configuration.md
	@$(CARGO) test --release --locked --lib -- --ignored write_the_tables_into_the_document

doc: ## Build the documentation
	$(CARGO) doc --release --locked --no-deps --document-private-items
