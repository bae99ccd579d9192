# shellcheck shell=bash
# A distributed stream against one that is not: COPY, settle, verify and late rows of 1,000,000 events; then what steps cost with 4, 8, 16 and 32
# shards. Coordinator and two workers are servers of this machine, so they have its processors together, and whatever else runs there: so the
# second and the third table have processor time, of the coordinator and of the workers apart.
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

# cpu SERVER…: the processor time, in milliseconds, that all processes of these servers have had, those that ended too.
cpu() {
	local name postmaster pids=()
	sleep 0.2	# until the postmaster has seen who ended
	for name; do
		postmaster=$(head -n 1 "$SCRATCH/$name/data/postmaster.pid")
		mapfile -t -O "${#pids[@]}" pids < <(echo "$postmaster" && pgrep -P "$postmaster")
	done
	# shellcheck disable=SC2046 # paths
	cat $(printf '/proc/%s/stat ' "${pids[@]}") 2>/dev/null |
		sed 's/.*) //' | awk -v tick="$(getconf CLK_TCK)" '{ sum += $12 + $13 + $14 + $15 } END { print sum * 1000 / tick }'
}

# spent NAME COMMAND…: runs it, with samples of the processor time it took: "NAME, coordinator" and "NAME, workers".
spent() {
	local name=$1 coordinator workers
	shift
	coordinator=$(cpu citus0) workers=$(cpu citus1 citus2)
	"$@"
	sample "$name, coordinator" "$(awk "BEGIN { print $(cpu citus0) - $coordinator }")"
	sample "$name, workers" "$(awk "BEGIN { print $(cpu citus1 citus2) - $workers }")"
}

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

# measured NAME WHERE [STATEMENT…] MEASURED: a sample of its time, and of the processor's.
measured() { spent "$1 $2" timed "$1 $2" "${@:3}"; }

# one_round WHERE: each figure once, in the cluster or alone.
one_round() {
	local whole="SET meter.batch_rows = 2000000000"
	new_stream bench
	[ "$1" = alone ] || sql "SELECT meter.distribute_stream('bench', $shards)" >/dev/null
	measured copy "$1" "COPY bench.event (source, id, \"time\", resource, account, action, offering) FROM '$SCRATCH/rows/new'"
	measured settle "$1" "SET meter.now = '2024-03-05 01:00Z'" "$whole" "SELECT usage_rows FROM meter.advance('bench', 'vm')"
	expect "$events"
	measured hour "$1" "SET meter.now = '2024-03-05 02:00Z'" "$whole" "SELECT usage_rows FROM meter.advance('bench', 'vm')"
	expect "$events"
	sql "COPY bench.event (source, id, \"time\", resource, account, action, offering) FROM '$SCRATCH/rows/late'"
	measured late "$1" "SET meter.now = '2024-03-05 02:00Z'" "$whole" "SELECT late_rows FROM meter.advance('bench', 'vm')"
	expect "$late"
	timed "idle $1" "SET meter.now = '2024-03-05 02:00Z'" "SELECT meter.advance('bench')" "SELECT usage_rows FROM meter.advance('bench')"
	measured verify "$1" "SELECT count(*) FROM meter.verify('bench')"
	expect 0
}

# some_steps NAME SQL: a sample of each of 20 runs of it together, "hour" in it being the next one each time.
some_steps() {
	local statements=() hour
	for ((hour = 3; hour < 23; hour++)); do
		statements+=("SET meter.now = '2024-03-06 ${hour}:00Z'" "${2//hour/$hour}")
	done
	spent "$1" sql "${statements[@]}" >/dev/null
}

# costs_of SHARDS: what steps of few rows cost over so many shards of the two workers.
costs_of() {
	new_stream bench
	sql "SELECT meter.distribute_stream('bench', $1)" "INSERT INTO bench.event (\"time\", resource, account, action)
		SELECT '2024-03-06 00:30Z', 'vm' || i, 'a' || i % 10, 'start' FROM generate_series(1, 100) i" \
		"SET meter.now = '2024-03-06 02:00Z'" 'CALL meter.run()' >/dev/null
	some_steps "settle $1" "SELECT meter.advance('bench')"
	sql "SET meter.now = '2024-03-06 22:30Z'" 'CALL meter.run()' >/dev/null
	some_steps "idle $1" "SELECT set_config('meter.now', '2024-03-06 22:30Z', false), meter.advance('bench')"
	some_steps "rows $1" "INSERT INTO bench.event (\"time\", resource, account, action) SELECT '2024-03-06 01:00Z', 'new' || i, 'a', 'start' FROM generate_series(10 * hour, 10 * hour + 9) i;
		SELECT set_config('meter.now', '2024-03-06 22:30Z', false), meter.advance('bench')"
}

# processor WHAT SAMPLES UNITS: a line of the table of processor time, in units of so many parts of a second.
processor() {
	local of
	printf '| %-58s |' "$1"
	for of in "${@:3}"; do
		read -r of _ <<<"$(of_samples "$of")"
		printf ' %12s |' "$(awk "BEGIN { printf \"%.3f\", $of / $2 }")"
	done
	printf '\n'
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

printf '\n| %-58s | %12s | %12s | %12s |\n| --- | --- | --- | --- |\n' 'processor seconds' coordinator 'both workers' 'one node'
for name in copy settle hour late verify; do
	processor "$name" 1 "$name cluster, coordinator" "$name cluster, workers" "$name alone, coordinator"
done
for n in 4 8 16 32; do
	in_cluster costs_of "$n"
done
printf '\n| %-58s | %12s | %12s |\n| --- | --- | --- |\n' 'processor seconds of a step' coordinator 'both workers'
for n in 4 8 16 32; do
	processor "$n shards, nothing to do" 20 "idle $n, coordinator" "idle $n, workers"
	processor "$n shards, an hour of 100 resources" 20 "settle $n, coordinator" "settle $n, workers"
	processor "$n shards, 10 late rows, and their INSERT" 20 "rows $n, coordinator" "rows $n, workers"
done
for name in citus0 citus1 citus2; do
	stop_server "$name"
done
# shellcheck disable=SC2154 # bench/run says which this is
use_server "$subject"
