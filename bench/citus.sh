# shellcheck shell=bash
# A distributed stream against one that is not: COPY, settle, verify and late rows of 1,000,000 events. Coordinator and two workers
# are servers of this machine, so they have its processors together: what a cluster gains has to be divided by that.
#
# Each round has streams of its own: in the cluster, and in another database of the coordinator.

events=$(scaled 1000000)
shards=${SHARDS:-8}

# node NAME: a server with Citus.
node() {
	start_server "$1" "shared_preload_libraries = 'citus,meter'" 'meter.enabled = off' 'citus.enable_version_checks = off' 'max_prepared_transactions = 100' \
		'max_wal_size = 8GB' 'autovacuum = off' 'jit = off' 'max_parallel_workers_per_gather = 0' 'citus.max_cached_conns_per_worker = 4'
}

# in_cluster COMMAND…, alone COMMAND…: in the cluster's database, and in the other one.
in_cluster() { PGDATABASE=postgres "$@"; }
alone() { PGDATABASE=alone "$@"; }

if [ ! -e "$("$PG_CONFIG" --sharedir)/extension/citus.control" ]; then
	say 'citus: skipped: Citus is not installed'
	return 0
fi

say "citus: $events events, $shards shards on two workers"
sql "CREATE UNLOGGED TABLE rows AS SELECT 'dc' AS source, 'e' || i AS id, '2024-03-05 00:00Z'::timestamptz + i % 3599 * interval '1 s' AS \"time\",
	md5(i::text)::uuid::text AS resource, 'account-' || i % 1000 AS account, 'start' AS action, 'm' || i % 4 AS offering FROM generate_series(1, $events) i"
as_user mkdir -p "$SCRATCH/rows"
sql "COPY (SELECT * FROM rows ORDER BY \"time\") TO '$SCRATCH/rows/new'" \
	"COPY (SELECT source, 'l' || id, \"time\" + interval '30 s', resource, account, 'stop', NULL::text FROM rows WHERE resource < '08') TO '$SCRATCH/rows/late'"
late=$(wc -l <"$SCRATCH/rows/late")
for name in citus1 citus2 citus0; do
	node "$name"
	sql 'CREATE EXTENSION citus' >/dev/null
done
sql "SELECT citus_set_coordinator_host('$SCRATCH/citus0', 5432)" "SELECT citus_add_node('$SCRATCH/citus1', 5432)" "SELECT citus_add_node('$SCRATCH/citus2', 5432)" \
	"SELECT citus_set_node_property('$SCRATCH/citus0', 5432, 'shouldhaveshards', false)" 'CREATE EXTENSION meter' 'CREATE DATABASE alone' >/dev/null
alone sql 'CREATE EXTENSION meter'
for database in postgres alone; do
	PGDATABASE=$database sql "CREATE FUNCTION private_kb(pid integer) RETURNS bigint LANGUAGE sql AS
		\$\$SELECT substring(s, 'VmHWM:\\s*(\\d+)')::bigint - substring(s, 'RssShmem:\\s*(\\d+)')::bigint
		FROM pg_read_file('/proc/' || pid || '/status', 0, 100000, true) s\$\$" >/dev/null
done

# one_round WHERE: each figure once, in the cluster or alone.
one_round() {
	new_stream bench
	[ "$1" = alone ] || sql "SELECT meter.distribute_stream('bench', $shards)" >/dev/null
	timed "copy $1" "COPY bench.event (source, id, \"time\", resource, account, action, offering) FROM '$SCRATCH/rows/new'"
	timed "settle $1" "SET meter.now = '2024-03-05 01:00Z'" 'SET meter.batch_rows = 2000000000' "SELECT usage_rows FROM meter.advance('bench', 'vm')"
	expect "$events"
	timed "hour $1" "SET meter.now = '2024-03-05 02:00Z'" 'SET meter.batch_rows = 2000000000' "SELECT usage_rows FROM meter.advance('bench', 'vm')"
	expect "$events"
	sql "COPY bench.event (source, id, \"time\", resource, account, action, offering) FROM '$SCRATCH/rows/late'"
	timed "late $1" "SET meter.now = '2024-03-05 02:00Z'" 'SET meter.batch_rows = 2000000000' "SELECT late_rows FROM meter.advance('bench', 'vm')"
	expect "$late"
	timed "idle $1" "SET meter.now = '2024-03-05 02:00Z'" "SELECT meter.advance('bench')" "SELECT usage_rows FROM meter.advance('bench')"
	timed "verify $1" "SELECT count(*) FROM meter.verify('bench')"
	expect 0
}

# What both ledgers come to.
content() {
	sql "SELECT md5(string_agg(concat_ws('|', transaction_id, account, resource, dimensions, period_start, quantity, revision), ';' ORDER BY transaction_id)) FROM bench.usage"
}

for ((turn = 1; turn <= RUNS; turn++)); do
	in_cluster one_round cluster
	alone one_round alone
	[ "$(in_cluster content)" = "$(alone content)" ] || die 'the ledgers differ'
done

header
figure "COPY $events events" 'copy cluster' 'the same, not distributed' 'copy alone'
figure "settle $events new events of as many new resources" 'settle cluster' 'the same, not distributed' 'settle alone'
figure "settle an hour without events" 'hour cluster' 'the same, not distributed' 'hour alone'
figure "process $late late events" 'late cluster' 'the same, not distributed' 'late alone'
figure 'an idle step' 'idle cluster' 'the same, not distributed' 'idle alone'
figure 'verify' 'verify cluster' 'the same, not distributed' 'verify alone'
for name in citus0 citus1 citus2; do
	stop_server "$name"
done
# shellcheck disable=SC2154 # bench/run says which this is
use_server "$subject"
