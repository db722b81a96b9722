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
	$(CARGO) build --locked -p ringfence

.PHONY: demo
demo: build ## an agent at work on real files, with tools in other languages
	@scripts/demo

.PHONY: test
test: setup lint test-rust test-guests test-clients test-conformance ## every check there is

.PHONY: lint
lint: setup ## formatting, clippy, licences, vendored WIT
	@scripts/lint

.PHONY: test-rust
test-rust: setup ## unit, property and whole-system tests
	$(CARGO) test --locked --workspace

.PHONY: test-clients
test-clients: build ## clients that we did not write, against a real host
	$(CARGO) build --locked -p ringfence-test-guests
	@tests/clients/run

.PHONY: test-conformance
test-conformance: build ## the MCP conformance suite, both versions
	$(CARGO) build --locked -p ringfence-test-guests
	@tests/conformance/run

.PHONY: bench
bench: setup ## the table of docs/benchmarks.md; ONLY=name runs one
	$(CARGO) run --locked --release -p ringfence-bench -- $(if $(ONLY),--only $(ONLY))

.PHONY: fmt
fmt: ## format the Rust code
	$(CARGO) fmt --all
