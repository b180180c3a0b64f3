# The whole interface of the tree. meson and ninja do the work; this file knows which tree a target needs.
#
#   make            the server, optimised, runnable in place: build/muster, build/musterctl, build/modules/*.so
#   make run        serve examples/site (MPM=event PORT=8080 HOST=127.0.0.1 ROOT=dir)
#   make test       unit tests, end-to-end tests on the three MPMs, comparison with Debian's apache2
#   make asan tsan  the unit and end-to-end tests in sanitized trees
#   make fuzz       every fuzz target for FUZZ_SECONDS (600), then coverage (FUZZ=name for one)
#   make bench      CPU per request beside Apache, nginx, lighttpd and h2o (ROUNDS= SECONDS= ONLY= WRITE=1)
#                   IDLE=1: memory of who waits, and what others notice of slow clients
#   make lint fmt   check or apply the style
#   make install    PREFIX=/usr/local DESTDIR=
#   make clean

MPM     ?= event
PORT    ?= 8080
HOST    ?= 127.0.0.1
ROOT    ?=
PREFIX  ?= /usr/local
DESTDIR ?=
MPMS    ?= prefork worker event
JOBS    ?= $(shell nproc)
FUZZ_SECONDS ?= 600

# Meson takes these from the environment; a first set-up must not depend on them changing later.
PYTHON  := /usr/bin/python3
NINJA   := ninja -j $(JOBS)
ASAN    := -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
TSAN    := -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized

.PHONY: build run test test-unit test-e2e test-diff asan tsan fuzz bench lint fmt install clean
.DEFAULT_GOAL := build

# $(call tree,DIR,OPTIONS,FIRST): set up DIR once (with the options FIRST too), bring its options up to date, compile,
# make it runnable in place.
define tree
	@test -f $(1)/build.ninja || meson setup $(1) $(2) $(3)
	@tools/options $(1) $(2)
	$(NINJA) -C $(1)
	@tools/stage $(1)
endef

build:
	@tools/setup build
	$(call tree,build,,-Dtests=false)

run: build
	@MPM='$(MPM)' PORT='$(PORT)' HOST='$(HOST)' ROOT='$(ROOT)' BUILD=build exec tools/run

test:
	@tools/setup build test
	$(call tree,build,-Dtests=true)
	@MPMS='$(MPMS)' tools/test build unit e2e diff

test-unit test-e2e test-diff: test-%:
	@tools/setup build test
	$(call tree,build,-Dtests=true)
	@MPMS='$(MPMS)' tools/test build $*

asan:
	@tools/setup build test
	$(call tree,build-asan,-Dtests=true $(ASAN))
	@MPMS='$(MPMS)' tools/test build-asan unit e2e

tsan:
	@tools/setup build test
	$(call tree,build-tsan,-Dtests=true $(TSAN))
	@MPMS='$(MPMS)' tools/test build-tsan unit e2e

fuzz:
	@tools/setup build test fuzz
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ='$(FUZZ)' JOBS='$(JOBS)' tools/fuzz

ifdef IDLE
bench:
	@tools/setup build test
	$(call tree,build,-Dtests=true)
	@$(PYTHON) tests/bench/idle.py --build build $(BENCH_ARGS)
else
bench:
	@tools/setup build bench
	$(call tree,build,,-Dtests=false)
	@ROUNDS='$(ROUNDS)' SECONDS='$(SECONDS)' ONLY='$(ONLY)' WRITE='$(WRITE)' \
	    $(PYTHON) tests/bench/bench.py --build build $(BENCH_ARGS)
endif

lint:
	@tools/setup build lint
	@tools/lint

fmt:
	@tools/setup lint
	@git ls-files -z --cached --others --exclude-standard '*.c' '*.h' | xargs -0r clang-format -i

install:
	@tools/setup build
	@test -f build/build.ninja || meson setup build --prefix '$(PREFIX)' -Dtests=false
	@tools/options build --prefix='$(PREFIX)'
	$(NINJA) -C build
	DESTDIR='$(DESTDIR)' meson install -C build --no-rebuild

clean:
	rm -rf build build-*
