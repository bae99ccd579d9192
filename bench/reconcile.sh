# shellcheck shell=bash
# Reconciling: a snapshot of many resources, a few in a thousand of which the log has wrong.
#
# RESOURCES=n sets how many run (1,000,000). The baseline is a plain hash anti-join of the snapshot's rows with the states of
# the resources, in one process with the same settings; both take turns, three rounds, and the medians count.

RESOURCES=${RESOURCES:-1000000}

# load AT SKIP: a snapshot, without every 1,000th resource from SKIP on, with as many that the log does not know, and with others
# of another offering.
load() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO bench.inventory (source, at, resource, account, entity, offering, since)
		SELECT 'dc', '$1', md5((i)::text)::uuid::text, 'account-' || i % 1000, 'vm', 'm' || CASE WHEN (i + $2) % 1000 = 500 THEN 9 ELSE i % 4 END,
			'2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s'
		FROM generate_series(1, $RESOURCES + $RESOURCES / 1000) i WHERE i % 1000 <> $2"
}

say "reconcile: $RESOURCES resources start"
psql -XqAt -v ON_ERROR_STOP=1 -c "SELECT meter.create_stream('bench')" \
	-c "SELECT meter.create_meter('bench', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0')" >/dev/null
psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO bench.event (source, \"time\", resource, account, entity, action, offering)
	SELECT 'dc', '2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s', md5((i)::text)::uuid::text, 'account-' || i % 1000, 'vm', 'start', 'm' || i % 4
	FROM generate_series(1, $RESOURCES) i"
psql -XqAt -c "SET meter.now = '2024-03-05 01:00Z'" -c "CALL meter.run('bench')" -c 'VACUUM ANALYZE bench.event' -c 'VACUUM ANALYZE bench._resource_state'

snapshots=() plains=() agains=()
for round in 1 2 3; do
	at="2024-03-05 0$((round)):30Z"
	say "reconcile: snapshot $round"
	load "$at" "$round"
	psql -XqAt -c 'VACUUM ANALYZE bench.inventory' -c CHECKPOINT
	plains+=("$(timed 'SET enable_nestloop = off' 'SET enable_mergejoin = off' 'SET max_parallel_workers_per_gather = 0' \
		"SELECT count(*) FROM bench.inventory i WHERE source = 'dc' AND at = '$at' AND NOT EXISTS
			(SELECT FROM bench._resource_state r WHERE r.meter = 'vm' AND r.resource = i.resource)")")
	snapshots+=("$(timed "SET meter.now = '$at'" "SELECT count(*) FROM meter.reconcile('bench', 'dc', '$at')")")
	agains+=("$(timed "SET meter.now = '$at'" "SELECT count(*) FROM meter.reconcile('bench', 'dc', '$at')")")
	psql -XqAt -c "SET meter.now = '2024-03-05 0$((round + 1)):00Z'" -c "CALL meter.run('bench')" -c 'VACUUM ANALYZE bench.event' -c 'VACUUM ANALYZE bench._resource_state'
done
[ -z "$(psql -XqAt -c "SELECT * FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"
say "reconcile: $(psql -XqAt -c "SELECT string_agg(starts || ' starts, ' || stops || ' stops, ' || changes || ' changes', '; ' ORDER BY at) FROM bench.snapshot")"

header
row "a snapshot of $RESOURCES" "$(median "${snapshots[@]}")" "hash anti-join of the same tables" "$(median "${plains[@]}")" '<= 10'
row "the same again" "$(median "${agains[@]}")" "hash anti-join of the same tables" "$(median "${plains[@]}")" '<= 10'
