# make test runs everything on a fresh machine: what is missing is installed by the scripts in .ci.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s

export PIPEHOOK_TEST_KILLS_SQLITE   ?= 100
export PIPEHOOK_TEST_KILLS_POSTGRES ?= 30
export PIPEHOOK_TEST_HANDOVERS      ?= 100
export PIPEHOOK_TEST_RELOADS        ?= 1000
export PIPEHOOK_TEST_PLUGIN_KILLS   ?= 120
export PIPEHOOK_TEST_OUTAGE         ?= 15s
export PIPEHOOK_TEST_HISTORY        ?= 5000
export RAPID_CHECKS                 ?= 15

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

.PHONY: build
build: ## Build bin/pipehook
	CGO_ENABLED=0 go build -trimpath -o bin/pipehook ./cmd/pipehook

.PHONY: test
test: lint ## Run every test, on SQLite and on a PostgreSQL of its own, with the race detector
	.ci/toolchain
	@echo "== tsc"
	.ci/types
	@echo "== go test -race"
	.ci/postgres .ci/test

.PHONY: lint
lint: ## Check format, modules and code without running it
	@echo "== gofmt"
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; fi
	@echo "== go mod"
	go mod tidy -diff
	go mod verify
	@echo "== go vet"
	go vet ./...
	@echo "== staticcheck"
	go run $(STATICCHECK) ./...

.PHONY: bench
bench: ## Measure the real binary against a bare handler, on both stores
	.ci/postgres go run ./cmd/pipehook/bench $(BENCHFLAGS)

.PHONY: torture
torture: ## Kill, cut off and mistreat the real binary, and check that it keeps its promises
	.ci/postgres go run ./cmd/pipehook/torture $(TORTUREFLAGS)

.PHONY: model
model: ## Compare the engine with its reference model over 10,000 random sequences, for hours
	RAPID_CHECKS=$${MODEL_CHECKS:-10000} RAPID_STEPS=50 .ci/postgres go test -timeout 24h ./core/coretest/model/ $(MODELFLAGS)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME
	@grep -rln '^func Fuzz' --include='*_test.go' . | while read -r file; do \
	  for target in $$(grep -ohE '^func Fuzz[A-Za-z0-9_]+' $$file | sed 's/func //'); do \
	    echo "== $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	  done; \
	done
