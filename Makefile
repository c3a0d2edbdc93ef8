# How this project is built, shown and tested. `make` alone lists the targets.
#
# Everything is compiled with one profile (the dev profile of Cargo.toml) into one folder, so that
# the engine is compiled once, whichever target is made first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Flags for every cargo call: `make test CARGO_FLAGS=--locked`.
CARGO_FLAGS ?=

# rustup puts cargo here, also for a shell that was started before; Debian puts nats-server there.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin
# Absolute, because plugins are compiled from their own folders.
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Where tests find the components: <plugin>/plugin.toml with what it names beside it.
export MISTERSMITH_TEST_PLUGINS := $(CARGO_TARGET_DIR)/test-plugins

mistersmith := $(CARGO_TARGET_DIR)/debug/mistersmith
# The cargo workspaces of the plugins: the examples, and those that only tests use.
plugin_workspaces := $(patsubst %/Cargo.toml,%,$(wildcard plugins/Cargo.toml tests/plugins/Cargo.toml))

.PHONY: help prepare host plugins test-plugins demo test check clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/p' Makefile | expand -t 22

demo: host plugins ## Build everything and show it at work on real documents
	$(mistersmith) --plugins plugins demo

test: test-plugins ## Build everything and run every test
	cargo test --workspace $(CARGO_FLAGS)
	for workspace in $(plugin_workspaces); do \
	    cargo test --workspace --manifest-path $$workspace/Cargo.toml $(CARGO_FLAGS); \
	done

check: prepare ## Formatting and lints, warnings as errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	for workspace in $(plugin_workspaces); do \
	    cargo fmt --all --check --manifest-path $$workspace/Cargo.toml; \
	    cargo clippy --workspace --all-targets --manifest-path $$workspace/Cargo.toml $(CARGO_FLAGS) -- -D warnings; \
	    cargo clippy --workspace --target wasm32-wasip2 --manifest-path $$workspace/Cargo.toml $(CARGO_FLAGS) -- -D warnings; \
	done
	cargo clippy --package mistersmith-sdk --target wasm32-wasip2 $(CARGO_FLAGS) -- -D warnings

plugins: host ## Compile the plugins, each component beside its manifest
	for workspace in $(plugin_workspaces); do \
	    $(mistersmith) build --plugins $$workspace; \
	done

clean: ## Remove what was built
	cargo clean
	rm -f plugins/*/*.wasm tests/plugins/*/*.wasm

# What the machine lacks: the wasm target, nats-server.
prepare:
	@scripts/prepare

host: prepare
	cargo build --package mistersmith-host $(CARGO_FLAGS)

# One folder of all plugins, ready to be copied by a test: manifest, component, schemas.
test-plugins: plugins
	@rm -rf $(MISTERSMITH_TEST_PLUGINS)
	@for manifest in $(wildcard plugins/*/plugin.toml tests/plugins/*/plugin.toml); do \
	    from=$$(dirname $$manifest); to=$(MISTERSMITH_TEST_PLUGINS)/$$(basename $$from); \
	    mkdir -p $$to; \
	    find $$from -maxdepth 1 -type f \( -name '*.toml' -o -name '*.wasm' -o -name '*.json' \) \
	        ! -name Cargo.toml -exec cp -t $$to {} +; \
	done
