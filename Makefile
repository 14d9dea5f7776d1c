# The only entry point, for people and for .ci. A recipe calls one program; the logic is in it.

# Name of the cluster that the targets below are about.
CLUSTER ?= dev

CACHE := $(or $(DHIS2_OPERATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dhis2-operator)
export DHIS2_OPERATOR_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export INSTA_UPDATE := no

# A cluster that somebody has is meant only when it is named on the command line, never by a left-over variable.
E2E_KUBECONFIG := $(if $(filter command line,$(origin KUBECONFIG)),$(KUBECONFIG))

# Checkouts share the target folder. cargo takes what another checkout built last for its own when that is newer than
# these sources: after a change of checkout they are newer than anything built.
STAMP := $(CARGO_TARGET_DIR)/.checkout
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(shell mkdir -p $(CARGO_TARGET_DIR); touch $$(git ls-files '*.rs'); printf %s '$(CURDIR)' > $(STAMP))
endif

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE ?= dhis2-operator:$(VERSION)

RUN := cargo run --quiet --package dhis2-e2e --bin
DHIS2_CLUSTER := $(RUN) dhis2-cluster --

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: ## from a bare machine to a login page: cluster, operator, one instance (DHIS2_IMAGE=reference or archive)
	@$(DHIS2_CLUSTER) demo

.PHONY: test
test: ## lint, generated files, unit tests, charts, what a hundred instances cost, some crashes, and every story on a real cluster
	@# Tests without a cluster wait more than they work, and builds work: side by side. What is measured, and the stories, come after.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line unit lint check image
	@$(MAKE) --no-print-directory bench-quick faults-sample e2e

.PHONY: lint
lint: ## format, clippy, documentation
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	@# Not among all targets, since they run only when they are asked for.
	cargo clippy --quiet --workspace --test stories --test faults -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items

.PHONY: generate
generate: ## write the generated files: crds/, docs/reference.md, docs/reference*.md, charts/plain/install.yaml
	@$(RUN) dhis2-generate
	@"$$($(DHIS2_CLUSTER) build --only helm)/helm" template dhis2-operator charts/dhis2-operator --namespace dhis2-operator --set crds.install=false --skip-tests > charts/plain/install.yaml

.PHONY: check
check: ## find what make generate would change in crds/ and docs/reference.md; a test of the charts does for charts/plain
	@$(RUN) dhis2-generate -- --check

.PHONY: unit
unit: ## every test that needs no cluster, with a real PostgreSQL, restic and Helm
	@$(DHIS2_CLUSTER) tools
	@# Those of the agent wait more than they work.
	cargo test --workspace -- --test-threads 6

.PHONY: e2e
e2e: ## every story on our own cluster, or on yours: KUBECONFIG=… DHIS2_IMAGE=… OPERATOR_IMAGE=… E2E_HTTP=… E2E_HTTPS=…
	@# Stories wait more than they work.
	E2E_KUBECONFIG="$(E2E_KUBECONFIG)" cargo test --workspace --test stories -- --test-threads 6

.PHONY: e2e-long
e2e-long: ## stories that take long, on clusters of their own
	cargo test --workspace --test stories -- --ignored --test-threads 1

.PHONY: drill
drill: ## lose everything but the bucket, and have it back: by the recovery sheet from the repository, from a copy, and without Kubernetes
	cargo test --workspace --test stories -- --test-threads 3 --exact s3::s3 copies::copies handover::handover

.PHONY: faults
faults: ## kill the operator between any two of its writes, in every flow; FLOW=create,drift runs these; FLOW=create POINT='1 POST secrets/play-admin' runs one
	@$(RUN) dhis2-faults -- $(if $(FLOW),--flow $(FLOW)) $(if $(POINT),--point '$(POINT)')

.PHONY: storms
storms: ## let answers, watches, the API server and leaders fail for a while; STORM=burst-503 runs one
	@$(RUN) dhis2-faults -- --storm $(STORM)

.PHONY: faults-breaks
faults-breaks: ## break the operator on purpose, in each way that has a patch, and see that it is noticed; BREAK=deaf does one
	cargo build --quiet --package dhis2-e2e --bin dhis2-bench
	@$(RUN) dhis2-faults -- --breaks $(BREAK)

.PHONY: model
model: ## a hundred thousand histories by chance of the operator in memory; takes an hour or two (CASES=1000)
	PROPTEST_CASES=$(or $(CASES),100000) cargo test --release --lib -- model::

.PHONY: faults-sample
faults-sample: ## some of these points and storms, always the same ones, and the rig that they stand on
	cargo test --package dhis2-e2e --test faults

.PHONY: bench
bench: ## measure the operator with up to 5000 instances beside a twin by the usual recipe; takes hours (BENCH="--instances 1000 --repeats 3")
	cargo run --quiet --release --package dhis2-e2e --bin dhis2-bench -- full --json dist/performance.json --plot docs/performance.svg $(BENCH)

.PHONY: bench-quick
bench-quick: ## what a hundred instances cost, in a minute; fails when that is more than it should be
	@$(RUN) dhis2-bench -- quick

.PHONY: figures
figures: ## what backups and restores cost beside the same by hand, with 2 GiB of rows; takes half an hour (FIGURES_MIB=200)
	@$(DHIS2_CLUSTER) tools
	cargo test --release --test agent figures -- --ignored --nocapture

.PHONY: soak
soak: ## two hours with a thousand instances, a change a second, cut connections and other leaders (SOAK="--instances 100 --time 300 --term 60")
	cargo run --quiet --release --package dhis2-e2e --bin dhis2-bench -- soak --json dist/soak.json $(SOAK)

DENY := $(CACHE)/tools/cargo-deny-0.20.2

.PHONY: deny
deny: $(DENY)/bin/cargo-deny ## licences, sources and doubled versions of all dependencies (builds cargo-deny once, which takes minutes)
	$< check bans licenses sources

$(DENY)/bin/cargo-deny:
	cargo install cargo-deny --locked --version 0.20.2 --root $(DENY)

.PHONY: image
image: ## write the image of operator, agent and restic to dist/dhis2-operator.tar (IMAGE=name:tag)
	@$(RUN) dhis2-image -- operator dist/dhis2-operator.tar $(IMAGE)

.PHONY: cluster
cluster: ## start a real Kubernetes in namespaces of its own (CLUSTER=dev names it)
	@$(DHIS2_CLUSTER) up $(CLUSTER)

.PHONY: cluster-down
cluster-down: ## end it; its data stays (PURGE=--purge removes it)
	@$(DHIS2_CLUSTER) down $(CLUSTER) $(PURGE)

.PHONY: kubectl
kubectl: ## kubectl against it: make kubectl ARGS="get pods -A"
	@$(DHIS2_CLUSTER) kubectl $(CLUSTER) -- $(ARGS)

.PHONY: cache-clean
cache-clean: ## remove what was built once for all checkouts; refuses while a cluster runs
	@$(DHIS2_CLUSTER) cache-clean
