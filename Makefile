PYTHON := ./tools/python
CLUSTER := $(PYTHON) -m local.cluster
.DEFAULT_GOAL := help

.PHONY: help
help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Cluster, registry, stand-ins, platform and pipeline, from whatever is there
	@$(CLUSTER) up

.PHONY: down
down: ## Remove cluster, containers and networks; caches stay
	@$(CLUSTER) down

.PHONY: smoke
smoke: ## Run the pipeline once on the cluster that is up
	@$(CLUSTER) smoke

.PHONY: status
status: ## Nodes, pods and warnings of the cluster that is up
	@$(CLUSTER) status

.PHONY: dags-push
dags-push: ## Push a folder of DAG files to the local git server: FROM=<folder>
	@$(CLUSTER) dags-push $(or $(FROM),$(error name a folder: make dags-push FROM=<folder>))
