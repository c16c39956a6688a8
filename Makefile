# Relay Agent. `make help` lists the targets.
#
# Every room (base, crypto, config, agent, service) is compiled into a library of its own and
# the programs take from them what they use. Variants are built in trees of their own:
#   make            build/          optimised, hardened
#   make SAN=1      build/san/      AddressSanitizer and UndefinedBehaviorSanitizer
#   make TSAN=1     build/tsan/     ThreadSanitizer
#   make COV=1      build/cov/      gcov
#   make DEBUG=1    build/debug/    no optimisation
#   make KILL=1     build/kill/     stops itself at RELAY_KILL_POINT, for tests of delivery
#   make BENCH=1    build/bench/    as build/, but RELAY_BENCH_NO_JOURNAL turns the journal off
#   make LINT=1     build/lint/     for scripts/lint: every call in the source is one in the object

VERSION := 1.0.0
PREFIX  ?= /usr/local
DESTDIR ?=

CC ?= gcc
AR ?= ar
PKG_CONFIG ?= pkg-config
Q := $(if $(V),,@) # make V=1 shows the commands

RELEASE_FLAGS := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection
RELEASE_LDFLAGS := -Wl,-z,relro,-z,now,-z,noexecstack

ifeq ($(SAN),1)
B := build/san
VARIANT_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(TSAN),1)
B := build/tsan
VARIANT_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
VARIANT_LDFLAGS := -fsanitize=thread
else ifeq ($(COV),1)
B := build/cov
VARIANT_FLAGS := -O0 -g --coverage
VARIANT_LDFLAGS := --coverage
else ifeq ($(KILL),1)
B := build/kill
VARIANT_FLAGS := -O1 -g -DWITH_KILL_POINTS
else ifeq ($(BENCH),1)
B := build/bench
VARIANT_FLAGS := $(RELEASE_FLAGS) -DWITH_BENCH_SWITCH
VARIANT_LDFLAGS := $(RELEASE_LDFLAGS)
else ifeq ($(DEBUG),1)
B := build/debug
VARIANT_FLAGS := -O0 -g3
else ifeq ($(LINT),1)
B := build/lint
VARIANT_FLAGS := -O0 -fno-builtin -Walloca
else
B := build
VARIANT_FLAGS := $(RELEASE_FLAGS)
VARIANT_LDFLAGS := $(RELEASE_LDFLAGS)
endif

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wundef \
	-Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wswitch-enum -Wvla -Wno-format-truncation -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion
PACKAGES := libcurl openssl json-c yaml-0.1 libuv libmicrohttpd sqlite3
PACKAGE_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null | sed 's/-I/-isystem /g')

CPPFLAGS += -I. -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(PACKAGE_CFLAGS)
CFLAGS += -std=c17 -fPIE $(WARNINGS) $(VARIANT_FLAGS)
LDFLAGS += -pie -Wl,--as-needed -Wl,--gc-sections $(VARIANT_LDFLAGS)

AGENT_LIBS := -lsqlite3 -lbloom -lcurl -lz -lbrotlidec -lzstd -lssl -lcrypto -ljson-c -lyaml -luv -lunistring -lm
SERVICE_LIBS := -lmicrohttpd -lcurl -lssl -lcrypto -ljson-c -lyaml -luv -lsqlite3 -lunistring -lz -lm
TEST_LIBS := -lcriterion

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
BASE    := $(call objects,$(sort $(wildcard base/*.c)))
CRYPTO  := $(call objects,$(sort $(wildcard crypto/*.c)))
CONFIG  := $(call objects,$(sort $(wildcard config/*.c)))
AGENT   := $(call objects,$(sort $(filter-out agent/main.c,$(wildcard agent/*.c))))
SERVICE := $(call objects,$(sort $(filter-out service/main.c,$(wildcard service/*.c))))
UNIT    := $(call objects,$(sort $(wildcard tests/unit/*.c)))
BENCHES := $(call objects,$(sort $(wildcard tests/bench/*.c)))
LOWER   := $(B)/config.a $(B)/crypto.a $(B)/base.a

PROGRAMS := $(B)/relay-agent $(B)/command-service

.PHONY: all
all: $(PROGRAMS) ## build both programs (the default)

$(B)/relay-agent: $(call objects,agent/main.c) $(B)/agent.a $(LOWER)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--export-dynamic-symbol=_gnutls_global_init_skip -o $@ $^ $(AGENT_LIBS)

$(B)/command-service: $(call objects,service/main.c) $(B)/service.a $(LOWER)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(SERVICE_LIBS)

# Criterion finds its tests in a section that nothing refers to.
$(B)/unit-tests: $(UNIT) $(B)/agent.a $(B)/service.a $(LOWER)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--no-gc-sections -o $@ $^ $(AGENT_LIBS) $(SERVICE_LIBS) $(TEST_LIBS)

# The same tests for valgrind: see there.
$(B)/unit-tests-in-process: $(call objects,tests/valgrind/main.c) $(UNIT) $(B)/agent.a $(B)/service.a $(LOWER)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--no-gc-sections -o $@ $^ $(AGENT_LIBS) $(SERVICE_LIBS) $(TEST_LIBS)

# The programs that scripts/bench measures with, each with what they have in common.
BENCH_PROGRAMS := $(addprefix $(B)/bench-,limit floor canned load)
BENCH_LIBS := -lcurl -lssl -lcrypto -ljson-c -lsqlite3 -lunistring -lm
$(B)/bench.a: $(filter-out $(patsubst $(B)/bench-%,$(B)/obj/tests/bench/%.o,$(BENCH_PROGRAMS)),$(BENCHES))
$(B)/bench-%: $(B)/obj/tests/bench/%.o $(B)/bench.a $(B)/crypto.a $(B)/base.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(BENCH_LIBS)

.PHONY: bench
bench: all $(BENCH_PROGRAMS) ## build the programs that scripts/bench measures with

$(B)/base.a: $(BASE)
$(B)/crypto.a: $(CRYPTO)
$(B)/config.a: $(CONFIG)
$(B)/agent.a: $(AGENT)
$(B)/service.a: $(SERVICE)
$(B)/%.a:
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

# Criterion's macros shadow and convert; the rest of the warnings stays.
$(B)/obj/tests/unit/%.o $(B)/obj/tests/valgrind/%.o: CFLAGS += -Wno-shadow -Wno-conversion -Wno-sign-conversion \
	-Wno-missing-prototypes -Wno-cast-qual -Wno-format-nonliteral

# A third of the analyser's default, in a third of the time (2 s for the largest file).
ANALYZER_BUDGET := -Xclang -analyzer-config -Xclang max-nodes=75000
$(B)/tidy/%.ok: TIDY_FLAGS := -include scripts/lib/clang-tidy.h
$(B)/tidy/base/error.ok: TIDY_FLAGS :=
# Linting is incremental like compiling: a file is looked at again when it, a header of it
# (through its object) or the list of checks has changed.
$(B)/tidy/%.ok: %.c $(B)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(CPPFLAGS) -std=c17 $(ANALYZER_BUDGET) $(TIDY_FLAGS) 2>$@.log || \
		{ cat $@.log >&2; exit 1; }
	@touch $@

OBJECTS := $(BASE) $(CRYPTO) $(CONFIG) $(AGENT) $(SERVICE) $(BENCHES) $(call objects,$(wildcard */main.c))

.PHONY: objects
objects: $(OBJECTS)

.PHONY: tidy
tidy: $(patsubst $(B)/obj/%.o,$(B)/tidy/%.ok,$(OBJECTS))

.PHONY: flags
flags:
	@echo $(CPPFLAGS) $(CFLAGS)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

.PHONY: unit
unit: $(B)/unit-tests ## build and run the unit tests
	$(B)/unit-tests --jobs 2

.PHONY: test
test: ## set up, build and run every test
	scripts/test

.PHONY: demo
demo: ## set up, build and show the main job
	scripts/demo

.PHONY: lint
lint: ## format, static analysis, headers alone, include directions, banned calls
	scripts/lint

.PHONY: format
format: ## rewrite the C files with clang-format
	clang-format -i $(wildcard */*.[ch] tests/*/*.[ch])

.PHONY: install
install: all ## install the programs (DESTDIR=, PREFIX=)
	install -D -m 755 $(B)/relay-agent $(DESTDIR)$(PREFIX)/bin/relay-agent
	install -D -m 755 $(B)/command-service $(DESTDIR)$(PREFIX)/bin/command-service

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
