# The commands of this project. Each works in every module of the tree; .ci/each says how they are found.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
FUZZTIME   ?= 50000x
LINTER     ?= go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0

.PHONY: help quick test lint fuzz torture torture-ci bench fmt tidy
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

quick: ## Test the core: no servers, seconds
	go test ./...

test: ## Run every test of every module with -race; a skipped test is a failure
	.ci/need
	go build -o bin/noskip ./internal/noskip
	TEST_SERVERS=1 .ci/each bash -o pipefail -c 'go test -race -timeout 20m -json ./... | $(CURDIR)/bin/noskip'

lint: ## Check formatting, go vet and all linters
	.ci/formatted
	.ci/each go vet ./...
	.ci/each $(LINTER) run ./...

fuzz: ## Run each fuzz target for FUZZTIME, a number of runs (50000x) or a duration (1m)
	FUZZTIME=$(FUZZTIME) .ci/each $(CURDIR)/.ci/fuzz

torture: ## Kill, freeze, cut off and check for about two hours, and write proof/report.md
	.ci/torture full

torture-ci: ## The same for a few minutes
	.ci/torture slice

bench: ## Run the Go benchmarks of every module
	.ci/each go test -run '^$$' -bench . -benchmem ./...

fmt: ## Format all code
	gofmt -w .

tidy: ## Tidy every go.mod
	.ci/each go mod tidy
