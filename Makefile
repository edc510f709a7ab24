# Mizzen: `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/bin:$(PATH)
export CGO_ENABLED ?= 0

GOLANGCI_LINT_VERSION := v2.13.2
# Two test packages at a time: each starts processes of its own.
TEST_FLAGS ?= -p 2 -timeout 40m

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: bin/mizzen ## Build bin/mizzen

.PHONY: bin/mizzen
bin/mizzen: | prerequisites
	go build -ldflags '-s -w' -o $@ ./cmd/mizzen

.PHONY: lab
lab: | prerequisites ## Build what `make up` runs (LAB=kwok: no pods; TRACING=1: Jaeger too)
	lab/build.sh

.PHONY: up
up: build lab ## Start the lab and Mizzen; prints what to try
	@hack/up.sh

.PHONY: down
down: ## End Mizzen and the lab
	@hack/down.sh

.PHONY: prerequisites
prerequisites:
	@hack/prerequisites.sh
	@hack/modules.sh

bin/golangci-lint-$(GOLANGCI_LINT_VERSION): | prerequisites
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	ln -sf golangci-lint $@

# What the linter knows lies with Go's build cache: who keeps that from run to
# run spares two minutes.
.PHONY: lint
lint: bin/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Formatting and static checks, of all modules with code of ours
	export GOLANGCI_LINT_CACHE="$${GOLANGCI_LINT_CACHE:-$$(go env GOCACHE)/golangci-lint}" && golangci-lint run && \
		cd lab && golangci-lint run -c ../.golangci.yml && cd coredns && golangci-lint run -c ../../.golangci.yml

.PHONY: generate
generate: build ## Write the generated files anew
	hack/generate.sh

.PHONY: fresh
fresh: build ## Fail if a generated file is not what its source says
	hack/generate.sh -check
	go mod tidy -diff
	cd lab && go mod tidy -diff
	cd lab/coredns && go mod tidy -diff

.PHONY: test
test: lint fresh test-packages test-stories test-mesh ## Everything a change must pass

# The parts of `make test`, the quickest answers first; `make -k test` goes on
# after the first that fails.
.PHONY: test-packages test-rest test-race test-lab test-stories test-mesh
# Two at a time: test-lab mostly waits.
test-packages:
	+$(MAKE) -j 2 --output-sync=target test-lab test-rest test-race
test-rest: build lab
	p=$$(hack/packages.sh rest) && go test $(TEST_FLAGS) $$p
test-race: build lab
	p=$$(hack/packages.sh race) && CGO_ENABLED=1 go test -race $(TEST_FLAGS) $$p
test-lab: build lab
	cd lab && go test $(TEST_FLAGS) ./...
	cd lab/coredns && go test $(TEST_FLAGS) ./...
# Three at a time: test/peace only waits.
test-stories: build lab
	p=$$(hack/packages.sh stories) && go test -count=1 $(TEST_FLAGS) -p 3 $$p
# By itself: no request may fail there, which a machine that is busy with other
# labs does not keep.
test-mesh: build lab
	go test -count=1 -parallel 3 $(TEST_FLAGS) ./test/mesh

.PHONY: verify
verify: test ## As test, every fuzz test for a while, and a million requests to Envoy
	hack/fuzz.sh
	go test -count=1 -timeout 3h ./test/oracle -run 'TestPredictions|TestWaypoints' -oracle.requests 1000000 -oracle.meshes 500

.PHONY: bench
bench: build lab ## Measure, and write bench/RESULTS.md
	go run ./bench

.PHONY: picture
picture: build lab ## Draw docs/picture.svg from a real run
	go run ./hack/picture
