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

# The race detector needs cgo and a C compiler. CI insists on it.
ifneq ($(shell command -v $$($(GO) env CC)),)
RACE := -race
endif

.PHONY: help
help: ## Print this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it

.PHONY: up
up: bin/holdfast ## Start everything: Postgres, the sandbox, every service, one port (UPFLAGS=--ephemeral keeps nothing)
	@exec bin/holdfast up $(UPFLAGS)

.PHONY: drill
drill: bin/holdfast ## Replace every replica under load and judge what clients saw (DRILLFLAGS="--sabotage no-drain" breaks it)
	@exec bin/holdfast drill rolling $(DRILLFLAGS)

.PHONY: bin/holdfast
bin/holdfast: # always asked: the Go build cache knows what is stale
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./cmd/holdfast

.PHONY: binaries
binaries: bin/holdfast ## Build the command and every service's own binary into bin/
	@for service in orders payments sandbox; do \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/$$service ./services/$$service/cmd/$$service; \
	done

##@ Prove it

.PHONY: test
test: ## Run every test, against a real Postgres
ifndef RACE
	@echo "make test: no C compiler, so without the race detector"
endif
	$(GO) test $(RACE) $(TESTFLAGS) ./...

.PHONY: fuzz
FUZZTIME ?= 20s
fuzz: ## Fuzz every parser that faces the outside, FUZZTIME (20s) each
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" tools/fuzz

.PHONY: bench
bench: ## Measure the ratios that the README and the guides cite
	@GO="$(GO)" tools/bench

.PHONY: check
check: generate-check lint test ## Everything a change must pass

##@ Change it

.PHONY: generate
generate: $(BUILD)/image.binpb ## Generate Go, the HTTP gateway, OpenAPI and the generated docs
	$(TOOL) buf generate $(BUILD)/image.binpb --template proto/buf.gen.yaml --path holdfast
	$(GO) test ./pkg/apierror ./pkg/policy -run 'TestDocs' -update

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
	$(TOOL) golangci-lint run ./...
	@if command -v shellcheck >/dev/null; then shellcheck $$(git ls-files .ci/run tools/fuzz tools/bench tools/generate-check); \
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
