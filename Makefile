# make help says what there is.

# --- what is built --------------------------------------------------------------------------------------------------

EXTENSION = meter
MODULE_big = meter
# What protoc-c makes of the .proto belongs to the library, whether it is there yet or not.
PROTO = $(wildcard src/*/*.proto)
PROTO_C = $(PROTO:.proto=.pb-c.c)
PROTO_H = $(PROTO:.proto=.pb-c.h)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c) $(PROTO_C)))
SHLIB_LINK = -lprotobuf-c
# The pure core: what compiles with palloc and nothing else of the server, and is tested as plain programs, too.
CORE = $(wildcard src/core/*.c)
PGFILEDESC = "meter - usage metering"

# What is built has its version from meter.control. META.json, debian/changelog and CHANGELOG.md repeat it; make lint compares.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" meter.control)

# The install script is these files joined, each after those it needs.
SQL_PARTS = \
	src/header.sql \
	src/types/timeline.sql \
	src/types/chart.sql \
	src/types/event.sql \
	src/types/measure.sql \
	src/types/transaction_id.sql \
	src/types/protobuf.sql \
	src/types/row_text.sql \
	src/catalog/catalog.sql \
	src/catalog/home.sql \
	src/commands/create_stream.sql \
	src/commands/access.sql \
	src/commands/upgrade.sql \
	src/commands/inbox.sql \
	src/log/segment.sql \
	src/commands/create_meter.sql \
	src/commands/preview.sql \
	src/commands/alter_meter.sql \
	src/commands/resume.sql \
	src/engine/duplicates.sql \
	src/engine/duplicate_keys.sql \
	src/commands/detach_usage.sql \
	src/commands/advance.sql \
	src/commands/release.sql \
	src/engine/reconcile.sql \
	src/engine/scatter.sql \
	src/commands/distribute.sql \
	src/commands/undistribute.sql \
	src/commands/verify.sql \
	src/commands/rewind.sql \
	src/commands/explain.sql \
	src/commands/live.sql \
	src/commands/report.sql \
	src/commands/last_step.sql \
	src/commands/anomalies.sql \
	src/commands/expire.sql \
	src/commands/consumer.sql \
	src/commands/status.sql \
	src/commands/progress.sql \
	src/catalog/source.sql \
	src/worker/worker.sql \
	src/commands/schedule.sql \
	src/privileges.sql

# From version to version: what is in src/updates, then privileges and streams as in a new installation.
UPDATES = $(patsubst src/updates/%.sql,meter--%.sql,$(wildcard src/updates/*--*.sql))

DATA_built = meter--$(EXTVERSION).sql $(UPDATES)
EXTRA_CLEAN = meter--$(EXTVERSION).sql.tmp $(PROTO_C) $(PROTO_H)

PG_CFLAGS = -Wall -Wextra
# Warnings are about this code: the server's headers have some of their own.
PG_CPPFLAGS = -Isrc -DMETER_VERSION='"$(EXTVERSION)"' -isystem $(shell $(PG_CONFIG) --includedir-server)

# The server: 15 where it is, then whichever Debian package has headers here, then the PATH's.
DEBIAN_PGXS := $(wildcard $(foreach v,15 18 17 16 14,/usr/lib/postgresql/$(v)/lib/pgxs))
PG_CONFIG ?= $(firstword $(DEBIAN_PGXS:/lib/pgxs=/bin/pg_config) pg_config)

# installcheck, against a server that runs already and preloads meter. make check needs none.
REGRESS = --schedule=sql/schedule
REGRESS_OPTS = --load-extension=meter

# --- runners: they install what they need, so nothing may be asked of PostgreSQL before they run -----------------------

RUNNERS = demo check check-regress check-isolation check-tap check-unit check-docs check-citus lint format bench soak fuzz mutants diagrams reference book dist help pg_config core

ifneq ($(filter $(RUNNERS),$(MAKECMDGOALS)),)

.PHONY: $(MAKECMDGOALS)

demo:
	@demo/run

check:
	@test/check

check-regress check-isolation check-tap check-unit check-docs check-citus:
	@test/check $(@:check-%=%)

lint:
	@test/lint

format:
	@test/indent

bench:
	@bench/run $(BENCH)

soak:
	@test/soak $(SOAK)

fuzz:
	@test/fuzz/run $(SECONDS)

mutants:
	@test/mutants/run '$(MUTANTS)'

diagrams:
	@set -e; for source in docs/diagrams/*.txt; do \
		perl docs/diagrams/draw.pl "$$source" >"$$source.tmp"; mv "$$source.tmp" "$${source%.txt}.svg"; done

reference:
	@docs/book/reference >docs/reference/functions.md.tmp || { rm -f docs/reference/functions.md.tmp; exit 1; }
	@mv docs/reference/functions.md.tmp docs/reference/functions.md

book:
	@docs/book/run

# The last commit, the same bytes each time; the zip for PGXN, whose versions have three numbers.
DIST ?= .
DIST_TAR = $(DIST)/meter-$(EXTVERSION).tar
DIST_ZIP = $(DIST)/meter-$(PGXN_VERSION).zip
PGXN_VERSION = $(shell sed -n 's/^   "version": "\(.*\)",$$/\1/p' META.json)
ARCHIVE = TZ=UTC git -c safe.directory='$(CURDIR)' -c core.autocrlf=false -c tar.umask=0022 archive

dist:
	@$(ARCHIVE) --prefix=meter-$(EXTVERSION)/ -o '$(DIST_TAR)' HEAD
	@gzip -9nf '$(DIST_TAR)'
	@$(ARCHIVE) --prefix=meter-$(PGXN_VERSION)/ -o '$(DIST_ZIP)' HEAD
	@echo '$(DIST_TAR).gz'
	@echo '$(DIST_ZIP)'

pg_config:
	@echo '$(PG_CONFIG)'

core:
	@echo '$(CORE)'

help:
	@echo 'make                 builds the extension for the PostgreSQL of PG_CONFIG ($(PG_CONFIG))'
	@echo 'make install         installs it there; then: CREATE EXTENSION meter'
	@echo "make demo            shows it at work in a private server; TRACE='FILE…' feeds a Google cluster trace"
	@echo 'make check           builds without warnings and runs all tests in private servers'
	@echo 'make check-regress   only the SQL tests;         also: check-isolation, check-tap, check-unit,'
	@echo '                     check-docs (the examples of the documentation), check-citus (where Citus is installed)'
	@echo "                     TESTS='a b' picks tests by name, KEEP=1 keeps their scratch folder,"
	@echo "                     JOBS=n runs so many at a time, METER_SEED=n has other random numbers"
	@echo 'make lint            the checks that need no server'
	@echo 'make format          lays C out as PostgreSQL does (Debian: pg-bsd-indent)'
	@echo "make bench           benchmarks: tables of ratios; BENCH='timelines settle' picks some, SCALE=0.1 takes a tenth"
	@echo '                     of the rows, RUNS=n so many samples (5); docs/operations/performance.md'
	@echo 'make soak            the random tests for longer, each time with other numbers'
	@echo 'make fuzz            the pure core as a plain program, five minutes; SECONDS=n'
	@echo "make mutants         breaks the engine's rules one at a time: does a test notice? MUTANTS='pairing 3' picks some"
	@echo 'make book            the documentation as HTML, in the folder book; BOOK=folder'
	@echo 'make diagrams        draws docs/diagrams/*.svg anew from their sources'
	@echo 'make reference       makes docs/reference/functions.md anew from the comments of the catalog'
	@echo 'make dist            archives of the last commit: a tar.gz, and a zip for PGXN; DIST=folder'
	@echo 'make installcheck    the SQL tests against a running server that preloads meter'
	@echo 'make clean           removes what was built'

# Other goals of the same command line take their turn with PostgreSQL's rules.
ifneq ($(filter-out $(RUNNERS),$(MAKECMDGOALS)),)
$(filter-out $(RUNNERS),$(MAKECMDGOALS)):
	@$(MAKE) --no-print-directory $@
.NOTPARALLEL:
endif

else

# --- build ------------------------------------------------------------------------------------------------------------

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error no PostgreSQL headers behind "$(PG_CONFIG)": apt-get install postgresql-server-dev-15, or set PG_CONFIG; make demo and make check install what they need)
endif

# A file left out of SQL_PARTS would be missed by nobody until it is needed.
SQL_FOUND := $(filter-out src/updates/%,$(wildcard src/*.sql src/*/*.sql))
ifneq ($(filter-out clean distclean,$(or $(MAKECMDGOALS),all)),)
ifneq ($(filter-out $(SQL_PARTS),$(SQL_FOUND)),)
$(error not in SQL_PARTS: $(filter-out $(SQL_PARTS),$(SQL_FOUND)))
endif
ifneq ($(filter-out $(SQL_FOUND),$(SQL_PARTS)),)
$(error SQL_PARTS names what is not there: $(filter-out $(SQL_FOUND),$(SQL_PARTS)))
endif
endif

# PostgreSQL's own dependency tracking, which its packages switch off: whoever includes a header that changed is rebuilt.
override autodepend = yes
include $(PGXS)

# Of the same name as in make check: some messages tell it.
CONTRIB_TESTDB = meter_regress

# One run makes both files. They are not ours to mend, so their warnings are nobody's.
PROTOC_C ?= protoc-c
%.pb-c.c %.pb-c.h: %.proto
	@command -v $(PROTOC_C) >/dev/null || { \
		echo "no protoc-c, which makes C of $<: apt-get install protobuf-c-compiler libprotobuf-c-dev, or set PROTOC_C" >&2; \
		exit 1; }
	$(PROTOC_C) --proto_path=$(<D) --c_out=$(@D) $(<F)
$(PROTO_C:.c=.o): CFLAGS += -w
$(OBJS): | $(PROTO_H)

# Bitcode is as old as its object file.
$(OBJS:.o=.bc): %.bc: %.o

# Documentation and examples go into a folder of their own, where the links of the pages lead from one to another.
DOCUMENTATION = '$(DESTDIR)$(docdir)/meter'
CHAPTERS = docs $(filter-out docs/book,$(patsubst %/,%,$(wildcard docs/*/)))
EXAMPLES = $(filter-out demo/run,$(wildcard demo/*)) $(PROTO)

install: install-documentation
uninstall: uninstall-documentation

.PHONY: install-documentation uninstall-documentation
install-documentation:
	$(MKDIR_P) $(addprefix $(DOCUMENTATION)/,$(CHAPTERS)) $(DOCUMENTATION)/examples
	$(INSTALL_DATA) $(wildcard *.md) $(DOCUMENTATION)/
	set -e; for chapter in $(CHAPTERS); do $(INSTALL_DATA) "$$chapter"/*.* $(DOCUMENTATION)/"$$chapter"/; done
	$(INSTALL_DATA) $(EXAMPLES) $(DOCUMENTATION)/examples/

uninstall-documentation:
	rm -rf $(DOCUMENTATION)

meter--$(EXTVERSION).sql: $(SQL_PARTS) meter.control Makefile
	cat $(SQL_PARTS) >$@.tmp
	mv $@.tmp $@

$(UPDATES): meter--%.sql: src/updates/%.sql src/privileges.sql src/updates/end.sql
	cat $^ >$@

endif
