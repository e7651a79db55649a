# `make` alone prints what there is. Everything needs Go and nothing else; what
# else is used when it is there (a C compiler, Docker) is said when it is not.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
BUILD := .build
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
VERSION_PKG := github.com/holdfast-dev/holdfast/pkg/service
LDFLAGS := -s -w -X $(VERSION_PKG).Version=$(VERSION) -X $(VERSION_PKG).Commit=$(COMMIT)

# What runs at a desk can be told to misbehave: docs/fault-injection.md. What is
# deployed or released cannot; deploy/images/compile builds that.
DEVELOPMENT := -tags faults

# The race detector needs cgo and a C compiler. CI insists on it.
ifneq ($(shell command -v $$($(GO) env CC)),)
RACE := -race
endif

.PHONY: help
help: ## Print this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it

.PHONY: up
up: bin/holdfast ## Start everything: Postgres, the sandbox, every service, one port (UPFLAGS=--ephemeral keeps nothing)
	@exec bin/holdfast up $(UPFLAGS)

.PHONY: drill
DRILL ?= rolling
drill: bin/holdfast ## Replace every replica under load and judge what clients saw (DRILL=overload another, DRILLFLAGS="--sabotage no-drain")
	@exec bin/holdfast drill $(DRILL) $(DRILLFLAGS)

.PHONY: bin/holdfast
bin/holdfast: # always asked: the Go build cache knows what is stale
	@CGO_ENABLED=0 $(GO) build $(DEVELOPMENT) -trimpath -ldflags "$(LDFLAGS)" -o $@ ./cmd/holdfast

.PHONY: binaries
binaries: bin/holdfast ## Build the command and every service's own binary into bin/
	@for service in orders payments llm-gateway sandbox; do \
		GO="$(GO)" VERSION="$(VERSION)" COMMIT="$(COMMIT)" deploy/images/compile $$service bin/$$service; \
	done

##@ Prove it

.PHONY: test
test: ## Run every test, against a real Postgres
ifndef RACE
	@echo "make test: no C compiler, so without the race detector"
endif
	$(GO) test $(DEVELOPMENT) $(RACE) $(TESTFLAGS) ./...
# What production has in place of fault injection: nothing, and that it says so.
	$(GO) test $(RACE) -run WithoutFaultInjection $(TESTFLAGS) ./pkg/faults ./pkg/service
# What a build with outlier ejection has, and that a deploy is with it what it is without.
	$(GO) test -tags outlier $(RACE) -run 'Outlier|RollingDeploy' $(TESTFLAGS) ./pkg/service
# These look at files outside their modules, which Go's test cache does not see.
	cd test/deploy && $(GO) test -count=1 $(TESTFLAGS) ./...
	cd tools && CGO_ENABLED=0 $(GO) test -count=1 $(TESTFLAGS) ./migrationlint
# One turn each: the figures are worth nothing, but what is measured still works.
	cd test/bench && $(GO) test -count=1 -bench . -benchtime 1x ./...
	cd test/sdk && $(GO) test -count=1 $(TESTFLAGS) ./...

.PHONY: fuzz
FUZZTIME ?= 20s
fuzz: ## Fuzz every parser that faces the outside, FUZZTIME (20s) each
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" tools/fuzz

.PHONY: drills
drills: ## Hold every drill but rolling, and with what it is about taken away: ten minutes, on a quiet machine
	$(GO) test -tags faults,drills -count=1 -timeout 30m $(TESTFLAGS) -run '^TestDrill' ./cmd/holdfast

.PHONY: chaos
chaos: bin/holdfast ## Break everything at once for DURATION (10m), from SEED, beside the release before (PREVIOUS)
	@GO="$(GO)" DURATION="$(DURATION)" SEED="$(SEED)" PREVIOUS="$(PREVIOUS)" tools/chaos

.PHONY: overload
overload: ## Send five times what a server can do, with and without shedding
	$(GO) test -tags overload -count=1 -v -run OverTheWire ./pkg/resilience/shed

.PHONY: bench
bench: ## Measure the ratios that the README and the guides cite
	@GO="$(GO)" tools/bench

.PHONY: llm-figures
llm-figures: ## Measure what the LLM gateway costs, in about fifteen minutes (FIGURESFLAGS)
	@TMPDIR=/dev/shm $(GO) run ./test/llm/cmd/figures $(FIGURESFLAGS)

.PHONY: check
check: generate-check lint migrations test ## Everything a change must pass

##@ Deploy it

.PHONY: images
images: ## Build the images (IMAGES="orders payments", TARGET=prebuilt compiles here: seconds)
	@GO="$(GO)" VERSION="$(VERSION)" COMMIT="$(COMMIT)" tools/images

.PHONY: manifests
manifests: ## Build and check every overlay and component, and dry-run them where a cluster answers
	@GO="$(GO)" tools/manifests

.PHONY: docker-test
docker-test: ## Test the images, and the platform under docker compose
	$(GO) test -tags docker -p 1 -count=1 -timeout 30m $(TESTFLAGS) ./test/images ./test/compose

.PHONY: e2e
e2e: ## Deploy to a kind cluster under load: 10,000 requests a row, about an hour (e2e-short: minutes)
	@GO="$(GO)" TESTFLAGS="$(TESTFLAGS)" tools/e2e

.PHONY: e2e-short
e2e-short: ## One rolling change, one blue/green switch and back, one control
	@GO="$(GO)" HOLDFAST_E2E_SHORT=1 HOLDFAST_E2E_REQUESTS=1000 HOLDFAST_E2E_RATE=25 TESTFLAGS="$(TESTFLAGS)" tools/e2e

.PHONY: rightsizing
rightsizing: ## Show on a cluster what limits do: OOM-killed, throttled, resized, and what saves a pod
	@GO="$(GO)" TESTFLAGS="$(TESTFLAGS)" test/rightsizing/run

.PHONY: profile
profile: bin/holdfast ## Measure what requests and limits are derived from (PROFILEFLAGS)
	@$(GO) run ./test/rightsizing/cmd/profile -holdfast bin/holdfast $(PROFILEFLAGS)

##@ Change it

.PHONY: generate
generate: $(BUILD)/image.binpb ## Generate Go, the HTTP gateway, OpenAPI and the generated docs
	$(TOOL) buf generate $(BUILD)/image.binpb --template proto/buf.gen.yaml --path holdfast
	$(GO) test ./pkg/apierror ./pkg/policy ./services/llm-gateway/dispatch -run 'TestDocs' -update

MIGRATIONS = $(addprefix ../,$(wildcard services/*/migrations))
# Postgres' parser comes as WebAssembly, and as C for those who have cgo on.
MIGRATIONLINT = cd tools && CGO_ENABLED=0 $(GO) run ./migrationlint

.PHONY: migrations
migrations: ## Lint every migration, and compare with the commit before (MIGRATIONS_AGAINST)
	@$(MIGRATIONLINT) -against $(or $(MIGRATIONS_AGAINST),HEAD~1) $(MIGRATIONS)

.PHONY: migrations-record
migrations-record: ## Note new migrations in migrations.sum
	@$(MIGRATIONLINT) -record $(MIGRATIONS)

.PHONY: migrations-release
migrations-release: ## Note that all migrations are released (VERSION=v1.2.0)
	@$(MIGRATIONLINT) -release $(VERSION) $(MIGRATIONS)

.PHONY: previous-release
previous-release: ## Run the previous release's tests on this release's schema
	@GO="$(GO)" tools/previous-release-tests

.PHONY: metrics
metrics: ## List again which metrics alerts and dashboards look at
	cd test/deploy && $(GO) test ./observability -run UpToDate -update

.PHONY: generate-check
generate-check: ## Fail if generated files are stale, or an API change would break a client
	@tools/generate-check

.PHONY: $(BUILD)/image.binpb
$(BUILD)/image.binpb:
	@mkdir -p $(BUILD)
	@cd tools && $(GO) run ./protoimage -root ../proto -o ../$@

.PHONY: lint
lint: $(BUILD)/image.binpb ## Lint Go, protos and scripts
	$(TOOL) buf lint $(BUILD)/image.binpb --config proto/buf.yaml --path holdfast
	$(TOOL) golangci-lint run --build-tags e2e,docker,faults,overload,outlier,drills ./...
	$(TOOL) golangci-lint run ./pkg/faults ./pkg/service # without fault injection and outlier ejection
	cd test/deploy && $(GO) tool -modfile=../../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...
	cd test/bench && $(GO) tool -modfile=../../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...
	cd test/sdk && $(GO) tool -modfile=../../tools/go.mod golangci-lint run --config ../../.golangci.yml ./...
	cd tools && CGO_ENABLED=0 $(GO) tool golangci-lint run --config ../.golangci.yml ./...
	$(GO) tool -modfile=tools/actionlint/go.mod actionlint
	@if command -v shellcheck >/dev/null; then shellcheck -x $$(git grep -lE "^\#!.*(ba)?sh$$"); \
	else echo "make lint: no shellcheck here, scripts not checked"; fi

.PHONY: format
format: ## Format Go
	$(TOOL) golangci-lint fmt ./...

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in what is used (needs the network)
	$(TOOL) govulncheck ./...

.PHONY: clean
clean: ## Remove what make built
	rm -rf bin $(BUILD)
