# SPDX-License-Identifier: Apache-2.0 OR MIT
# The suite's commands. `build`, `demo` and `test` need neither network (Go modules aside) nor root.
SHELL      := /bin/bash
GO         ?= go
BIN        := bin
COMMIT     := $(shell git rev-parse --short HEAD 2>/dev/null || echo -)
COMMITDATE := $(shell git log -1 --format=%cd --date=format:%Y-%m-%d 2>/dev/null || echo 2026-11-25)
# Our own entry in front of the Go runtime's, where there is one: internal/rlimit names limits that are too low for it.
ENTRY       = $(if $(filter linux/amd64,$(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)),-E ntp-daemon/internal/rlimit.entry)
LDFLAGS     = -s -w $(ENTRY) -X ntp-daemon/internal/version.Commit=$(COMMIT) -X ntp-daemon/internal/version.CommitDate=$(COMMITDATE)
# Programs that the kernel puts where it likes. They need the system's loader for that, but no library; BUILDMODE=exe makes
# some that need neither, for a bare container.
BUILDMODE  ?= $(if $(filter linux/amd64 linux/arm64,$(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)),pie,exe)
BUILD       = CGO_ENABLED=0 $(GO) build -buildmode=$(BUILDMODE) -trimpath -buildvcs=false -ldflags "$(LDFLAGS)"
COMMANDS   := ntp-daemon nts-pool-ke ntp-ctl ntp-metrics-exporter ntp-xdp
PROGRAMS    = $(COMMANDS:%=$(BIN)/%)
SOURCES    := go.mod go.sum $(shell find cmd internal -type f ! -name '*_test.go' ! -path '*/testdata/*')
HAVE_CC    := $(shell command -v gcc >/dev/null 2>&1 || command -v cc >/dev/null 2>&1 && echo yes)
# Built with what `make build` compiles: go run would compile for itself.
TESTRUN    := build/testrun
# Programs that read our code, pinned in a module of their own: none of their modules is one of ours.
LINT       := $(GO) tool -modfile=tools/lint/go.mod
PREFIX     ?= /usr/local
DESTDIR    ?=
SYSCONFDIR ?= /etc

.PHONY: accuracy build check demo test test-all scorecard vet lint cross test-clock vmtest interop peers sid mutate mutants golden soak fuzz cover keys bench bench-server bench-smoke bench-idle bench-xdp bench-handshake bench-pool page man install clean

# The first build compiles Go's standard library, too, which takes a minute or two: it says how far it is.
build:
	@mkdir -p $(BIN)
	@set -o pipefail; for c in $(COMMANDS); do echo "build $(BIN)/$$c"; \
		$(BUILD) -v -o $(BIN)/$$c ./cmd/$$c 2>&1 | \
			awk '/^[^ :]+$$/ { if (++n % 25 == 0) { print "  " n " packages compiled"; fflush() }; next } { print }' && \
		touch $(BIN)/$$c || exit 1; done

# The main job, visibly working: server, pool and client on loopback ports, a virtual clock that starts wrong.
demo: build
	@KEEP=$(KEEP) scripts/demo.sh

vet:
	$(GO) vet ./...

lint:
	$(LINT) staticcheck ./...

# What a change is tried with: vet and every test, with the race detector where a C compiler exists. What needs root is
# skipped for others. PACKAGES takes a part: make test PACKAGES=./internal/ntp/...
PACKAGES ?= ./...
test: $(TESTRUN)
	@rm -f build/tests.json
ifeq ($(HAVE_CC),yes)
	CGO_ENABLED=1 $(TESTRUN) -record build/tests.json -- -vet=all -race -timeout 15m $(PACKAGES)
else
	@echo "no C compiler: the race detector is not available, running without it"
	CGO_ENABLED=0 $(TESTRUN) -record build/tests.json -- -vet=all -timeout 15m $(PACKAGES)
endif

$(TESTRUN): tools/testrun/main.go
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $@ ./tools/testrun

# What most often fails in CI after a small change, in a minute or two: the linter, the manual pages, and the tests that hold the code
# against documents, floors and lists, where a skip that is not listed fails. The packages that were touched come with it:
# make check PACKAGES=./internal/ntp/...
check: export CI = true
check: lint man $(TESTRUN)
	CGO_ENABLED=0 $(TESTRUN) -- -vet=all -timeout 10m ./internal ./docs ./tools/mutants ./tools/scorecard $(filter-out ./...,$(PACKAGES))

# Everything, as CI runs it: also builds for other systems, and the tests once more as the programs ship, without cgo.
test-all: export NTPD_TEST_ALL = 1
test-all: test vet cross
ifeq ($(HAVE_CC),yes)
	CGO_ENABLED=0 $(TESTRUN) -record build/tests.json -- -timeout 15m $(PACKAGES)
endif

# Every platform that the suite must at least build for.
cross:
	@for t in linux/386 linux/arm freebsd/amd64 darwin/arm64; do \
		echo "build for $$t"; CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build ./... || exit 1; done

# Moves this machine's clock by at most 2 s and puts it back. Never part of `test`. RACE=10m lets our daemon and chronyd steer it
# for so long each, instead of a minute.
test-clock:
	@scripts/peers.sh >/dev/null || echo "no chronyd to race with"
	NTPD_TEST_CLOCK=1 NTPD_RACE=$(RACE) NTPD_PEERS=$(CURDIR)/build/peers CGO_ENABLED=0 $(GO) test -count=1 -p 1 -parallel 1 -timeout 60m -v ./internal/clock/clocktest/... ./internal/realclock/...

# Two virtual machines, in which the clock may be set at will (docs/testing.md). Skips without qemu or a kernel package.
vmtest:
	@scripts/vmtest.sh

# The estimator's bits on this processor and on arm64, which qemu-user emulates, and the ciphers there; as root it is installed.
golden:
	@GO="$(GO)" scripts/golden.sh

# Debian's chrony, ntpsec, haproxy and unbound, unpacked side by side into build/peers (the first two conflict with each other).
peers:
	@scripts/peers.sh

# Debian sid's chrony, ntpsec and ntpd-rs in build/sid. Exit 75 says that sid cannot be reached; nothing else may be missing.
sid:
	@scripts/sid.sh

interop: build peers $(TESTRUN)
	@scripts/sid.sh; rc=$$?; sid=; case $$rc in 0) sid="$(CURDIR)/build/sid" ;; \
	75) echo "interop: sid cannot be reached, its programs are not tested in this run" ;; *) exit $$rc ;; esac; \
	NTPD_PEERS="$(CURDIR)/build/peers" NTPD_SID="$$sid" $(TESTRUN) -- -count=1 -parallel 8 -timeout 15m -run Interop ./internal/interop/... ./internal/e2e

# How accurate the clock is in every scenario of internal/sim/testdata, beside chrony and beside what can be reached at all:
# the whole table, in build/accuracy.json, as docs/accuracy.md with its pictures, and in README.md. Two processors, ten
# minutes. MOST=2 runs no scenario more often than that, for a first look.
MOST ?= 1000
accuracy:
	@mkdir -p build
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o build/accuracy ./tools/accuracy
	build/accuracy -all -j 2 -most $(MOST) -json build/accuracy.json -doc docs

FUZZTIME ?= 10s
fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

# Random and mutated requests through the responder (S06).
MUTATE ?= 1e8
mutate:
	NTP_MUTATE=$(MUTATE) CGO_ENABLED=0 $(GO) test -count=1 -timeout 0 -v -run S06 ./internal/server

# Breaks the code in named places, one at a time, and runs the test that must notice (docs/testing.md). MUTANTS: all, changed,
# or an expression for names; for changed, MUTANTS_BASE names the commit since which. Nothing new is tried after MUTANTS_TIME.
MUTANTS      ?= all
MUTANTS_TIME ?= 1h
mutants:
	@CGO_ENABLED=0 $(GO) run ./tools/mutants -limit $(MUTANTS_TIME) -base "$(MUTANTS_BASE)" '$(MUTANTS)'

# Server with NTS, pool and clients under load for that long; memory, threads, descriptors and goroutines must return
# to the base line (L07); and all of them stopped by SIGSTOP for a fifteenth of that, at most 120 s (K11). Needs root.
SOAK ?= 30m
soak:
	SOAK=$(SOAK) CGO_ENABLED=0 $(GO) test -count=1 -timeout 0 -v -run 'L07_Soak|K11_Stopped' ./internal/e2e

cover:
	@mkdir -p build
	$(GO) test -coverprofile=build/cover.out ./internal/... >/dev/null
	@$(GO) tool cover -func=build/cover.out | tail -1

# New test certificates; public and unsafe, see test-keys/README.md.
keys:
	$(GO) run ./test-keys/gen

# The pure parts of the server's path, for benchstat: make bench BENCH_COUNT=20 >new.txt
BENCH_COUNT ?= 1
bench:
	@$(GO) test -run '^$$' -bench . -benchmem -count $(BENCH_COUNT) ./internal/server/... ./internal/udp/... ./internal/nts/...

# What an answer costs and how long it takes, beside a C program that does nothing else, chronyd and ntpd-rs, in one run
# (docs/performance.md, which it writes). The machine must be idle and have two processors. Needs root and gcc.
# ROUNDS=3 is a first look, and writes nothing; nor does KINDS='plain|interleaved', which measures these alone.
ROUNDS ?= 15
KINDS  ?=
BENCH_DOC = $(if $(KINDS),,$(if $(filter 15,$(ROUNDS)),$(CURDIR)/docs/$(1)))
bench-server: build/serverbench.test build/ntpload
	@$(call serverbench,full,BenchServer,$(call BENCH_DOC,performance.md))

# Does all of that run? A tenth of a second of each, nothing is compared. Without root or gcc it says so, and neither unpacks nor
# runs anything.
bench-smoke: build/serverbench.test build/ntpload
	@[ "$$(id -u)" = 0 ] || { echo "$@: needs root, nothing is tried"; exit 0; }; \
	command -v gcc >/dev/null || { echo "$@: needs gcc, nothing is tried"; exit 0; }; \
	$(call serverbench,smoke,Bench,)

# What the daemon costs while nothing happens: a client with four sources beside chronyd and ntpd-rs, and a server whom nobody
# asks (docs/performance-idle.md, which it writes). Nine minutes, on an idle machine. Needs root.
bench-idle: build/serverbench.test build/ntpload
	@$(call serverbench,full,BenchIdle,$(call BENCH_DOC,performance-idle.md))

# What an answer of ntp-xdp costs, in the driver and behind it, beside the sockets and the C program (docs/performance-xdp.md, which it
# writes). Four minutes, on an idle machine with two processors. Needs root and gcc. ROUNDS as above.
bench-xdp: build/serverbench.test build/ntpload
	@sid=; $(call benchrun,full,BenchXDP,$(call BENCH_DOC,performance-xdp.md))

serverbench = scripts/sid.sh >/dev/null; rc=$$?; sid=; case $$rc in 0) sid="$(CURDIR)/build/sid" ;; \
	75) echo "$@: sid cannot be reached, chronyd and ntpd-rs are not measured" ;; *) exit $$rc ;; esac; $(benchrun)

benchrun = cd internal/serverbench && NTPD_BENCH=$(1) NTPD_BENCH_ROUNDS=$(ROUNDS) NTPD_BENCH_KINDS='$(KINDS)' NTPD_BENCH_DOC="$(3)" NTPD_SID="$$sid" NTPD_LOAD="$(CURDIR)/build/ntpload" \
		"$(CURDIR)/build/serverbench.test" -test.v -test.timeout 30m -test.run '$(2)$$|$(2)[A-Z]'

build/serverbench.test: $(SOURCES) $(wildcard internal/serverbench/*)
	CGO_ENABLED=0 $(GO) test -c -o $@ ./internal/serverbench

build/ntpload: $(SOURCES) tools/ntpload/main.go
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $@ ./tools/ntpload

# Key exchange under floods of handshakes that are never finished, daemon and pool: what honest users and NTP get of it
# (row KS18). The machine must be idle. Needs root.
bench-handshake:
	NTPD_BENCH=1 CGO_ENABLED=0 $(GO) test -count=1 -timeout 15m -v -run KS18_Flood ./internal/e2e

# What a key exchange through the pool costs beside our own key exchange server, chronyd's and ntpd-rs's, how long it takes, and
# who fails while time sources go (docs/pool-performance.md, which it writes). The machine must be idle and have two
# processors. The peers need root.
BENCH_ROUNDS ?= 9
bench-pool: build/poolbench.test
	@scripts/sid.sh >/dev/null; rc=$$?; sid=; case $$rc in 0) sid="$(CURDIR)/build/sid" ;; \
	75) echo "bench-pool: sid cannot be reached, chronyd and ntpd-rs are not measured" ;; *) exit $$rc ;; esac; \
	cd internal/poolbench && NTPD_BENCH=1 NTPD_BENCH_ROUNDS=$(BENCH_ROUNDS) NTPD_BENCH_DOC="$(CURDIR)/docs/pool-performance.md" NTPD_SID="$$sid" \
		taskset -c 1 "$(CURDIR)/build/poolbench.test" -test.v -test.timeout 30m -test.run BenchPool

build/poolbench.test: $(SOURCES) $(wildcard internal/poolbench/*)
	CGO_ENABLED=0 $(GO) test -c -o $@ ./internal/poolbench

# `make install` needs no Go when the programs are newer than their sources: root often has none in its PATH.
$(PROGRAMS): $(SOURCES)
	@command -v $(GO) >/dev/null || { \
		echo "make install: $@ is missing or older than its sources, and there is no $(GO) in this PATH: run make build first, as the user who has it"; exit 1; }
	@$(MAKE) --no-print-directory build

# Programs, manual pages, units, users and folders of the units, sample configurations, and a first /etc/ntp-daemon/ntp.toml
# where there is none; nothing is enabled or started.
install: $(PROGRAMS)
	@for c in $(COMMANDS); do install -D -m 0755 $(BIN)/$$c "$(DESTDIR)$(PREFIX)/bin/$$c" || exit 1; done
	@for s in 5 8; do install -d "$(DESTDIR)$(PREFIX)/share/man/man$$s" && \
		install -m 0644 docs/man/*.$$s "$(DESTDIR)$(PREFIX)/share/man/man$$s" || exit 1; done
	@install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(PREFIX)/share/doc/ntp-daemon/examples"
	@for u in configs/systemd/*.service configs/systemd/*.socket; do sed 's|/usr/local/|$(PREFIX)/|g' $$u > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/}" && \
		chmod 0644 "$(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/}" || exit 1; done
	@install -D -m 0644 configs/systemd/sysusers.conf "$(DESTDIR)$(PREFIX)/lib/sysusers.d/ntp-daemon.conf"
	@install -m 0644 configs/client.toml configs/server.toml configs/pool.toml configs/public-pool.toml "$(DESTDIR)$(PREFIX)/share/doc/ntp-daemon/examples"
	@install -m 0644 LICENSE-APACHE LICENSE-MIT "$(DESTDIR)$(PREFIX)/share/doc/ntp-daemon"
	@conf="$(DESTDIR)$(SYSCONFDIR)/ntp-daemon/ntp.toml"; if [ -e "$$conf" ]; then echo "$$conf is left as it is"; else \
		install -D -m 0644 configs/ntp.toml "$$conf" && echo "$$conf is new: look at its sources"; fi

# The pool's status page in a real browser, with pictures in build/ to look at. Installs Debian's Chromium where it is missing.
page:
	@GO="$(GO)" scripts/page.sh

# The manual pages must please mandoc; pages that are not installed here cannot be found, which is no fault.
man:
	@command -v mandoc >/dev/null || { echo "make man: mandoc is not installed"; exit 1; }
	@! mandoc -Tlint docs/man/*.[58] 2>&1 | grep -v 'referenced manual not found\|outdated mandoc.db'

clean:
	rm -rf $(BIN) build

# Runs everything and writes docs/scorecard.md.
scorecard: test-all
	$(GO) run ./tools/scorecard
