# The chores that people type. Each installs what it needs by itself (scripts/deps.sh; a quick no-op when it is there).

ARCH    := $(shell uname -m)
TARGET  := $(ARCH)-unknown-linux-musl
TARGETS := $(or $(CARGO_TARGET_DIR),target)
BRIG    := $(abspath $(TARGETS)/$(TARGET)/release/brig)

PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
UNITDIR ?= $(PREFIX)/lib/systemd

# C parts of dependencies (SQLite, zstd, ring's assembler) are built against musl, too.
export CC_$(subst -,_,$(TARGET)) := musl-gcc

.PHONY: help build demo test test-stack faults bench install uninstall check fmt clean

help:
	@echo 'make demo      a container from a real image: pulled, run, limited, on a network, gone again'
	@echo 'make test      every test; the last line says how many passed, failed and were skipped'
	@echo 'make faults    kills the program, and fails its system calls, at every step; the log is target/faults/log.txt'
	@echo 'make bench     Brig beside the engines of this machine; the table goes to benches/results.md'
	@echo 'make install   the program, its man pages, completions and boot unit (PREFIX=$(PREFIX), DESTDIR=$(DESTDIR))'
	@echo 'make check     formatting, lints, the rules of the tree, documentation, licences'
	@echo 'make build     the program alone: $(BRIG)'

build:
	@scripts/deps.sh build
	cargo build --release --package brig --target $(TARGET)

demo: build
	@scripts/deps.sh demo
	@BRIG=$(BRIG) scripts/demo.sh

test:
	@scripts/deps.sh build test
	cargo xtask test

test-stack: build
	@scripts/deps.sh test
	BRIG=$(BRIG) tests/shell/stack.sh

faults:
	@scripts/deps.sh build test
	cargo xtask faults $(FAULTS_ARGS)

bench: build
	@scripts/deps.sh bench
	cargo build --release --package benches --target $(TARGET)
	BRIG=$(BRIG) $(TARGETS)/$(TARGET)/release/brig-bench $(BENCH_ARGS)

install: build
	BRIG=$(BRIG) DESTDIR=$(DESTDIR) BINDIR=$(DESTDIR)$(BINDIR) DATADIR=$(DESTDIR)$(DATADIR) UNITDIR=$(DESTDIR)$(UNITDIR) scripts/install.sh

uninstall:
	BINDIR=$(DESTDIR)$(BINDIR) DATADIR=$(DESTDIR)$(DATADIR) UNITDIR=$(DESTDIR)$(UNITDIR) scripts/install.sh --remove

check:
	@scripts/deps.sh build check
	cargo xtask check

fmt:
	cargo fmt --all

clean:
	cargo clean
	rm -rf .work
