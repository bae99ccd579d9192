# shellcheck shell=bash
# Reconciling: a snapshot of 1,000,000 resources, a few in a thousand of which the log has wrong.
#
# The baseline is a plain hash anti-join of the snapshot's rows with the states of the resources.

resources=$(scaled 1000000)

# load AT SKIP: a snapshot, without every 1,000th resource from SKIP on, with as many that the log does not know, and with others
# of another offering.
load() {
	sql "INSERT INTO bench.inventory (source, at, resource, account, entity, offering, since)
		SELECT 'dc', '$1', md5((i)::text)::uuid::text, 'account-' || i % 1000, 'vm', 'm' || CASE WHEN (i + $2) % 1000 = 500 THEN 9 ELSE i % 4 END,
			'2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s'
		FROM generate_series(1, $resources + $resources / 1000) i WHERE i % 1000 <> $2"
}

say "reconcile: $resources resources"
new_stream bench
sql "INSERT INTO bench.event (source, \"time\", resource, account, entity, action, offering)
	SELECT 'dc', '2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s', md5((i)::text)::uuid::text, 'account-' || i % 1000, 'vm', 'start', 'm' || i % 4
	FROM generate_series(1, $resources) i" \
	"SET meter.now = '2024-03-05 01:00Z'" "CALL meter.run('bench')"
vacuum bench

for ((round = 1; round <= RUNS; round++)); do
	at=$(sql "SELECT '2024-03-05 00:30Z'::timestamptz + $round * interval '1 h'")
	load "$at" "$round"
	vacuum bench
	timed join 'SET enable_nestloop = off' 'SET enable_mergejoin = off' \
		"SELECT count(*) FROM bench.inventory i WHERE source = 'dc' AND at = '$at' AND NOT EXISTS
			(SELECT FROM bench._resource_state r WHERE r.meter = 'vm' AND r.resource = i.resource)"
	watched snapshot "SET meter.now = '$at'" "SELECT count(*) > 0 OR $resources < 1000 FROM meter.reconcile('bench', 'dc', '$at')"
	expect t
	watched again "SET meter.now = '$at'" "SELECT count(*) FROM meter.reconcile('bench', 'dc', '$at')"
	sql "SET meter.now = '$(sql "SELECT '$at'::timestamptz + interval '30 min'")'" "CALL meter.run('bench')"
	vacuum bench
done
[ -z "$(sql "SELECT FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"
say "reconcile: $(sql "SELECT string_agg(starts || ' starts, ' || stops || ' stops, ' || changes || ' changes', '; ' ORDER BY at) FROM bench.snapshot")"

header
figure "a snapshot of $resources" snapshot 'hash anti-join of the same tables' join '<= 10'
figure 'the same again' again 'hash anti-join of the same tables' join '<= 10'
