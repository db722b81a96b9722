# Everything that a person or CI runs. `make help` lists it.
CARGO ?= cargo
export RINGFENCE_CACHE ?= $(HOME)/.cache/ringfence

.PHONY: help
help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: setup
setup: ## install whatever building and testing needs and is missing
	@scripts/setup

.PHONY: build
build: setup ## the ringfence command, in target/debug
	$(CARGO) build --locked --workspace

.PHONY: demo
demo: build ## an agent at work on real files, with tools in other languages
	@scripts/demo

.PHONY: test
test: setup lint test-rust test-guests test-clients test-conformance ## every check there is

.PHONY: lint
lint: setup ## formatting, clippy, licences, vendored WIT
	@scripts/lint

.PHONY: cluster-control-plane-programs cluster-node-programs
cluster-control-plane-programs: setup
	@tests/cluster/setup control-plane
cluster-node-programs: setup
	@tests/cluster/setup node

.PHONY: test-rust
test-rust: cluster-control-plane-programs ## unit, property and whole-system tests
	wkg=$$(scripts/wkg.sh) && RINGFENCE_WKG=$$wkg $(CARGO) test --locked --workspace

.PHONY: test-guests
test-guests: setup ## the built-in chat agent, natively
	cd builtin && $(CARGO) test --locked

.PHONY: test-clients
test-clients: build ## clients that we did not write, against a real host
	@tests/clients/run

.PHONY: test-conformance
test-conformance: build ## the MCP conformance suite, both versions
	@tests/conformance/run

.PHONY: fuzz
fuzz: ## let libFuzzer look for bytes that panic, SECONDS each (30)
	@scripts/setup g++
	@scripts/fuzz $(or $(SECONDS),30)

.PHONY: bench
bench: cluster-control-plane-programs ## measure speed and density beside wasmtime and axum; ONLY=metric measures one
	@scripts/setup wrk
	$(CARGO) build --locked --release --workspace --bin ringfence-bench --bin ringfence --bin ringfence-operator
	@"$${CARGO_TARGET_DIR:-target}/release/ringfence-bench" $(if $(ONLY),--only $(ONLY))

.PHONY: test-cluster
test-cluster: build cluster-node-programs ## Pods on a real node, and the chart installed on one; needs root
	$(CARGO) test --locked --workspace --test node --test installed -- --ignored

# What `make cluster` starts: node, which needs root, or control-plane.
CLUSTER ?= node
CLUSTER_COMMAND = $${CARGO_TARGET_DIR:-target}/debug/ringfence-cluster

.PHONY: cluster
cluster: build cluster-$(CLUSTER)-programs ## leave a Kubernetes running, to try things on
	@$(CLUSTER_COMMAND) up $(CLUSTER)

.PHONY: cluster-down
cluster-down: ## end what 'make cluster' left running
	@$(CLUSTER_COMMAND) down

.PHONY: image
image: build ## the container image, as target/ringfence-image.tar
	@deploy/image/build "$${CARGO_TARGET_DIR:-target}/debug" target/ringfence-image.tar

.PHONY: crds
crds: ## write deploy/crds anew from the types
	@scripts/crds

.PHONY: fmt
fmt: ## format the Rust code
	$(CARGO) fmt --all
