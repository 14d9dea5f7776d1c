# The only entry point, for people and for .ci. A recipe calls one program; the logic is in it.

CLUSTER ?= dev

CACHE := $(or $(DHIS2_OPERATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dhis2-operator)
export DHIS2_OPERATOR_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target

DHIS2_CLUSTER := cargo run --package dhis2-e2e --bin dhis2-cluster --

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

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
