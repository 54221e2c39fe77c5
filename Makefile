# What one types here. `make test` is enough to see that all is well; `make check`
# is what CI runs, and what to run before pushing.

GO          ?= go
FUZZTIME    ?= 5s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo test check more format lint resource endurance long nightly faults faults-quick faults-hour soak fuzz build bench bench-quick bench-discovery

demo: ## a whole bus on loopback, each step explained
	$(GO) run ./cli/scamp.go demo

# Tests that let a process or a connection die at a named place need builds that know
# these places.
test: ## vet, and all tests under the race detector
	$(GO) vet ./...
	$(GO) test -race -shuffle=on ./...
	$(GO) test -race -tags failpoint -run '^TestFailpoint' -parallel 6 ./discovery ./scamp ./scamp/internal/faults

check: test more ## what CI runs

more: format lint build demo resource faults-quick fuzz ## what check does beyond test

format: ## every file is as gofmt writes it
	@out=$$(gofmt -l .) || exit 1; \
	if [ -n "$$out" ]; then echo "run gofmt -w on:"; echo "$$out"; exit 1; fi

# The version is pinned here, not in go.mod: what only checks the code is no
# dependency of those who import it.
lint:
	$(GO) vet -tags resource,failpoint ./...
	$(GO) run $(STATICCHECK) -tags resource ./...
	$(GO) run $(STATICCHECK) -tags resource,failpoint ./discovery ./scamp ./scamp/internal/mux ./scamp/internal/faults

# Memory, allocations and latency mean nothing under the race detector. Tests that
# measure them carry the build tag resource (or !race) and run here, one package at
# a time so that they do not measure each other.
resource: ## all tests again without the race detector, and those that measure
	$(GO) test -tags resource -count=1 -p 1 ./...
	cd bench && $(GO) vet ./cmd/discovery && $(GO) test -count=1 ./cmd/discovery

endurance: ## ten million echoes over connections that are cut at random: a quarter of an hour
	SCAMP_ENDURANCE_ECHOES=10000000 $(GO) test -run '^TestEnduranceEchoes$$' -count=1 -timeout 3h -v ./scamp

# Tests that need long load have it cut for CI. Here they have all of it: a thousand runs of
# services that come and go, a hundred seeds of hostile datagrams, attacks that take minutes.
# They are run without the race detector, one package at a time, and go on behind a failure.
MODEL_CHECKS ?= 100000

long: ## every test in its full length, and a hundred thousand sequences of each model: hours
	status=0; \
	SCAMP_TEST_LONG=1 $(GO) test -tags resource -count=1 -p 1 -timeout 12h ./... || status=1; \
	SCAMP_TEST_LONG=1 $(GO) test -tags failpoint -run '^TestFailpoint' -count=1 -p 1 -timeout 12h ./discovery ./scamp ./scamp/internal/faults || status=1; \
	SCAMP_MODEL_CHECKS=$(MODEL_CHECKS) $(GO) test -run '^(TestModel|TestTwoEnds|TestModelOfCalls|TestModelOfServing)$$' \
		-count=1 -p 1 -timeout 12h ./scamp ./scamp/internal/mux || status=1; \
	exit $$status

nightly: ## what takes too long for CI: faults, soak, endurance, long and fuzz, each whatever became of the others
	@failed=; for t in faults faults-hour soak endurance long "fuzz FUZZTIME=10m"; do $(MAKE) $$t || failed="$$failed $$t"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# docs/faults.md says what each row does, and how to repeat one: -rows F6 -seed N.
FAULTS ?= -json out/$@.json -md out/$@.md

faults: ## every row of faults, on a bus of processes under load: 45 minutes
	@mkdir -p out
	$(GO) run -tags failpoint ./scamp/internal/faults $(FAULTS)

faults-quick: ## the rows that CI runs, cut short: three minutes
	@mkdir -p out
	$(GO) run -tags failpoint ./scamp/internal/faults -quick $(FAULTS)

faults-hour: ## the row that mixes the faults, for an hour
	@mkdir -p out
	$(GO) run -tags failpoint ./scamp/internal/faults -rows F28 -scale 12 $(FAULTS)

soak: ## ten minutes of load with a fault each five seconds, in compressed time
	@mkdir -p out
	$(GO) run -tags failpoint ./scamp/internal/faults -rows soak $(FAULTS)

# Without a bound on minimizing, the first slow input that is new takes all the time. Go
# before 1.27 now and then ends a run whose time is over with "context deadline exceeded",
# though no input failed (golang/go#75804): that is no failure of the target.
fuzz: ## every fuzz target for FUZZTIME, one after the other
	@list=$$($(GO) test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	echo "$$list" | awk '/^Fuzz/ {t[++n]=$$1; next} /^ok/ {for (i=1; i<=n; i++) print $$2, t[i]} {n=0}' | \
	while read -r pkg target; do \
		echo "fuzz $$pkg $$target $(FUZZTIME)"; \
		out=$$($(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$pkg" 2>&1 </dev/null) && { echo "$$out" | tail -1; continue; }; \
		echo "$$out"; \
		case $$out in *"Failing input"*|*panic:*|*hung*) exit 1;; *"    context deadline exceeded"*) ;; *) exit 1;; esac; \
	done

build: ## bin/scamp
	$(GO) build -o bin/scamp ./cli/scamp

# Rivals and limits side by side; bench is a module of its own. See bench/README.md.
bench-quick: ## scamp beside its main rivals and the limit of TLS, in under four minutes
	cd bench && $(GO) build -o out/ ./cmd/perf && out/perf -scenarios unary,bulk,hol,idle -cells 64B,MiB,conns \
		-peers scamp,scamp-old,limit-text,grpc-raw,netrpc,drpc -once idle -rounds 3 -budget 200s -lines -json out/quick.json

bench: ## every system in every scenario: half an hour
	cd bench && $(GO) build -o out/ ./cmd/perf && out/perf -rounds 5 -json out/full.json -md out/full.md

bench-discovery: ## loading, lookups, memory, changes and a flood of the directory: one JSON object a figure
	cd bench && $(GO) build -o out/ ./cmd/discovery && out/discovery
