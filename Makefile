PYTHON := ./tools/python
CLUSTER := $(PYTHON) -m local.cluster
CHECK := $(PYTHON) -m tools.check
.DEFAULT_GOAL := help

.PHONY: help
help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

.PHONY: test
test: lint test-unit test-chart test-images test-dags test-tutorial test-e2e test-browser security-scan semantics-short why-short faults-short bench-short ## All tests, the fast ones first

.PHONY: lint
lint: ## Style and known mistakes, in every language
	@$(CHECK) lint

.PHONY: test-unit
test-unit: ## The unit tests of the local cluster and the tools
	@$(CHECK) unit

.PHONY: test-chart
test-chart: ## The charts, without a cluster
	@$(CHECK) chart

.PHONY: test-images
test-images: ## The tests of all images, in them
	@$(CHECK) images

.PHONY: image-test
image-test: ## One image as it will run: its Dockerfile linted, its tests in it: IMAGE=ticket-extract
	@$(CHECK) images $(or $(IMAGE),$(error name a folder below images/: make image-test IMAGE=ticket-extract))

.PHONY: test-dags
test-dags: ## The rules for DAGs, and the DAGs' own tests; of some: DAG="ticket_sentiment orchestration"
	@$(CHECK) dags $(DAG)

.PHONY: test-tutorial
test-tutorial: ## docs/tutorial.md, word by word, as far as it needs no cluster
	@$(PYTHON) -m pytest tests/tutorial

.PHONY: test-e2e
test-e2e: ## End to end on the local cluster, which is made if there is none; ALL=1: also what takes minutes, as upgrades of the release
	@$(CLUSTER) up --no-run || { $(CLUSTER) collect; exit 1; }
	@$(PYTHON) -m pytest tests/e2e $(if $(ALL),,-m "not long")

.PHONY: test-browser
test-browser: ## The platform's pages in Airflow's UI, in Chromium, on the cluster that is up
	@$(PYTHON) -m pytest tests/browser

.PHONY: scenarios
scenarios: ## Install each of the chart's ci/ files on the cluster that is up, each upgraded from the one before (a quarter of an hour); some: SCENARIO="minimal celery"; ANEW=1: each on an empty database; HELM=3: by Helm 3.19
	@$(if $(filter 3 4,$(HELM)),AIRFLOW_PLATFORM_HELM=$(HELM)) $(PYTHON) -m tests.scenarios $(if $(ANEW),--anew) $(SCENARIO)

.PHONY: rotation
rotation: ## Each secret of docs/rotation.md is replaced while tasks run, on the cluster that is up (half an hour); some: TEST="-k bucket"
	@$(PYTHON) -m pytest tests/rotation --durations=5 $(TEST)

.PHONY: semantics
semantics: ## What Airflow says of a task holds for its pod, on the cluster that is up; some: TEST="-k pool"; LAUNCHER=celery
	@$(PYTHON) -m pytest tests/semantics --durations=5 $(if $(LAUNCHER),--launcher=$(LAUNCHER)) $(TEST)

.PHONY: semantics-short
semantics-short: ## Some of them: one pod a task, a limit, callbacks, what a person marks
	@$(PYTHON) -m pytest tests/semantics -k "one_pod or 40528 or 46224_each or 62398"

.PHONY: security-scan
security-scan: ## Scanners over code, history and what the chart renders
	@$(PYTHON) -m tools.security

.PHONY: security
security: security-scan ## The scanners; then hostile DAGs and canary secrets, on the cluster that is up (ten minutes)
	@$(PYTHON) -m pytest tests/security --durations=5 $(TEST)

.PHONY: sbom
sbom: ## What is in each image that is shipped, as CycloneDX, in .local/sbom
	@$(PYTHON) -m tools.security.sbom

.PHONY: kueue
kueue: ## Kueue divides a pool between two teams: its controller is built (once; minutes), installed, and removed again
	@$(PYTHON) -m pytest tests/kueue --durations=5 $(TEST)

.PHONY: argocd
argocd: ## Argo CD installs and upgrades the platform from git: it is built (once; minutes), installed, and removed again
	@$(PYTHON) -m pytest tests/argocd --durations=5 $(TEST)

.PHONY: keda
keda: ## KEDA scales Celery's launchers from none and back: it is built (once; minutes), installed, and removed again
	@$(PYTHON) -m pytest tests/keda --durations=5 $(TEST)

.PHONY: secret-stores
secret-stores: ## All Secrets, connections and variables from a Vault: it and the External Secrets operator are built, installed, removed
	@$(PYTHON) -m pytest tests/secret_stores --durations=5 $(TEST)

.PHONY: monitoring
monitoring: ## Metrics, alerts and the canary, scraped by a real Prometheus on the cluster that is up
	@$(PYTHON) -m pytest tests/monitoring --durations=5 $(TEST)

.PHONY: faults
faults: ## Take parts away from running tasks (hours); some: SCENARIO="s3 postgresql" LAUNCH=platform N=20; LAUNCHER=celery
	@$(PYTHON) -m tests.faults $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(LAUNCH),--launch $(LAUNCH)) $(if $(LAUNCHER),--launcher $(LAUNCHER)) $(if $(N),-n $(N))

.PHONY: faults-short
faults-short: ## The triggerer is killed once under ten tasks: nothing is lost, nothing runs twice
	@$(PYTHON) -m tests.faults --short || { $(CLUSTER) collect; exit 1; }

.PHONY: upgrade-test
upgrade-test: ## The release before this one, this one, and back, under 50 tasks; PREVIOUS=<revision> N=20; some: UPGRADE=pgbouncer
	@$(PYTHON) -m tests.faults --upgrade $(UPGRADE) $(if $(N),-n $(N)) || { $(CLUSTER) collect; exit 1; }
	@$(if $(UPGRADE),,$(PYTHON) -m pytest tests/upgrade)

.PHONY: why
why: ## Provoke every fault, ours and stock, and measure what the log says; some: CASE="taint no-room" LAUNCH=platform
	@$(PYTHON) -m tests.causes $(if $(CASE),--case $(CASE)) $(if $(LAUNCH),--launch $(LAUNCH))

.PHONY: why-short
why-short: ## Five faults that are quick: each log names its cause
	@$(PYTHON) -m tests.causes --short || { $(CLUSTER) collect; exit 1; }

.PHONY: image-list
image-list: ## The images that a release needs; VALUES="my-values.yaml"; MIRROR=<registry> prints the commands that copy them there
	@$(PYTHON) -m tools.image_list $(if $(MIRROR),--mirror $(MIRROR)) $(foreach file,$(VALUES),--values $(file))

.PHONY: acceptance
acceptance: ## Run a DAG on the toy input beside it and compare its outputs: DAG=support/ticket_sentiment, FAULTS=1, RECORD=1
	@$(PYTHON) -m tests.acceptance $(or $(DAG),$(error name a folder below dags/: make acceptance DAG=support/ticket_sentiment)) $(if $(FAULTS),--faults) $(if $(RECORD),--record)

.PHONY: dev
dev: ## Build, push and run a DAG on its toy input each time that it or an image is saved: DAG=support/ticket_sentiment
	@$(CLUSTER) dev $(or $(DAG),$(error name a folder below dags/: make dev DAG=support/ticket_sentiment))

.PHONY: chart-docs
chart-docs: ## Make the chart's schema and README from its values.yaml
	@$(CHECK) chart-docs

.PHONY: bench
bench: ## What a task costs, each way to launch it, on the cluster that is up (an hour and a half); writes docs/benchmarks
	@$(PYTHON) -m tests.bench run

.PHONY: bench-scale
bench-scale: ## What 100, 300 and 1,000 waiting tasks cost, on the cluster that is up (a quarter of an hour); writes docs/benchmarks
	@$(PYTHON) -m tests.bench scale

.PHONY: bench-short
bench-short: ## That the benchmark works: a few tasks, nothing timed
	@$(PYTHON) -m tests.bench short || { $(CLUSTER) collect; exit 1; }
