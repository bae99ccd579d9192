# shellcheck shell=bash
# Settling an hour of 1,000,000 events with ids, 20 of each of 50,000 resources that are known.
#
# The baseline counts the hour's events by resource, and writes states and ledger as in settle.sh.

resources=$(scaled 50000)

say "busy: $((resources * 20)) events of $resources resources"
sql "CREATE UNLOGGED TABLE busy AS SELECT 'dc' AS source, md5(i || '-' || n)::uuid::text AS id,
		'2024-03-05 01:00Z'::timestamptz + n * interval '3 min' + i % 180 * interval '1 s' AS \"time\",
		md5(i::text)::uuid::text AS resource, 'account-' || i % 1000 AS account, CASE WHEN n % 2 = 0 THEN 'stop' ELSE 'start' END AS action, 'm' AS offering
	FROM generate_series(1, $resources) i, generate_series(0, 19) n ORDER BY \"time\""
for ((round = 1; round <= RUNS; round++)); do
	new_stream bench
	sql "INSERT INTO bench.event (source, \"time\", resource, account, action, offering) SELECT DISTINCT ON (resource) source,
		'2024-03-05 00:00Z'::timestamptz, resource, account, 'start', offering FROM busy"
	vacuum bench
	advance bench '2024-03-05 01:00Z'
	sql 'INSERT INTO bench.event (source, id, "time", resource, account, action, offering) SELECT * FROM busy'
	vacuum bench
	step busy bench '2024-03-05 02:00Z'
	expect "$resources"
	copies bench 2
	timed 'busy floor' "SELECT count(c) FROM (SELECT count(*) AS c FROM bench.event WHERE \"time\" >= '2024-03-05 01:00Z' GROUP BY resource) r;
		$(write_states); $(write_ledger)"
done
[ -z "$(sql "SELECT FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"

header
figure "settle $((resources * 20)) events of $resources known resources" busy 'count(*) GROUP BY resource, INSERTs of states and ledger' 'busy floor' '<= 2.5'
