# shellcheck shell=bash
# Settling measures: an hour of 1,000,000 with ids, of 50,000 resources whose accounts stand in the event log; eight hours of
# 2,000,000 that name their accounts, without ids and with.
#
# The baseline of the hour is sum(value) GROUP BY resource, and the INSERT of its rows, computed before, in the order of the key
# into a table with the ledger's key. That of the eight hours is an INSERT … SELECT resource, account, hour, sum(value) …
# GROUP BY, into a table without an index.

resources=$(scaled 50000)
measures=$((resources * 20))

say "quantities: $measures measures of $resources resources, accounts from events"
sql "CREATE UNLOGGED TABLE owned AS SELECT 'leaf' AS source, r || '-' || n AS id, '2024-03-05 00:00Z'::timestamptz + n * interval '3 min' AS start_time,
		'2024-03-05 00:03Z'::timestamptz + n * interval '3 min' AS end_time, md5(r::text)::uuid::text AS resource, (r * 7919 + n * 104729) % 1000000 AS value
	FROM generate_series(0, 19) n, generate_series(1, $resources) r"
for ((round = 1; round <= RUNS; round++)); do
	new_stream bench "aggregate => 'sum', dimensions => '{}'"
	sql "INSERT INTO bench.event (source, id, \"time\", resource, account, action) SELECT 'leaf', r, '2024-03-04 00:00Z'::timestamptz,
			md5(r::text)::uuid::text, 'account-' || r % 1000, 'assign' FROM generate_series(1, $resources) r" \
		'INSERT INTO bench.measure (source, id, start_time, end_time, resource, value) SELECT * FROM owned'
	vacuum bench
	step owned bench '2024-03-05 01:00Z'
	expect "$resources"
	copies bench 1
	timed 'owned floor' "SELECT count(s) FROM (SELECT sum(value) AS s FROM bench.measure GROUP BY resource) r; $(write_ledger)"
done
[ -z "$(sql "SELECT FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"

# eight_hours NAME ID: an expression.
eight_hours() {
	new_stream bench "aggregate => 'sum', dimensions => '{}'"
	sql "INSERT INTO bench.measure (source, id, start_time, end_time, resource, account, value)
		SELECT 'leaf', $2, '2024-03-05 00:00Z'::timestamptz + n * interval '5 min', '2024-03-05 00:05Z'::timestamptz + n * interval '5 min',
			'ip-' || r, 'account-' || r % 1000, (r * 7919 + n * 104729) % 1000000
		FROM generate_series(0, 95) n, generate_series(1, $eight) r" \
		'DROP TABLE IF EXISTS plain' 'CREATE TABLE plain (resource text COLLATE "C", account text COLLATE "C", hour timestamptz, sum numeric)'
	vacuum bench
	step "$1" bench '2024-03-05 08:00Z'
	expect $((eight * 8))
	timed "$1 plain" "INSERT INTO plain SELECT resource, account, date_bin('1 hour', start_time, '2000-01-01 00:00Z'), sum(value)
		FROM bench.measure GROUP BY 1, 2, 3"
}

eight=$(scaled 20000)
say "quantities: $((eight * 96)) measures of $eight resources"
for ((round = 1; round <= RUNS; round++)); do
	eight_hours bare NULL
	eight_hours named "r || '-' || n"
done
[ -z "$(sql "SELECT sum FROM plain EXCEPT SELECT quantity FROM bench.usage LIMIT 1")" ] || die "the sums differ"

header
figure "settle $measures measures, accounts from events" owned 'sum(value) GROUP BY resource, INSERT of its rows' 'owned floor' '<= 2.5'
figure "settle $((eight * 96)) measures into hours, without ids" bare 'INSERT ... SELECT ... GROUP BY' 'bare plain' '<= 2'
figure 'the same with ids' named 'INSERT ... SELECT ... GROUP BY' 'named plain' '<= 3'
