# shellcheck shell=bash
# Settling 1,000,000 resources: their first hour, an hour without events, one with an event each; verify; an idle step.
#
# Each round has a stream of its own. In the first hour each resource starts. In the second nothing happens. In the third half
# of the resources stop; in the fourth they start again, and the others stop. All events have ids. The INSERTs write rows that
# were computed before, in the order of the key, into a table with the same key; that of states also has one partial index.

resources=$(scaled 1000000)

# events TABLE HOUR ACTION RESOURCES: one of each in an hour, in order of time.
events() {
	sql "CREATE UNLOGGED TABLE $1 AS SELECT 'dc' AS source, md5('$1' || i)::uuid::text AS id,
			'2024-03-05 00:00Z'::timestamptz + $2 * interval '1 h' + i % 3599 * interval '1 s' + interval '1 s' AS \"time\",
			md5(i::text)::uuid::text AS resource, 'account-' || i % 1000 AS account, $3 AS action, 'm' || i % 4 AS offering
		FROM $4 i ORDER BY \"time\""
}

# log TABLE
log() {
	sql "INSERT INTO bench.event (source, id, \"time\", resource, account, action, offering) SELECT * FROM $1"
	vacuum bench
}

say "settle: $resources resources"
events first 0 "'start'" "generate_series(1, $resources)"
events third 2 "'stop'" "generate_series(1, $resources, 2)"
events fourth 3 "CASE i % 2 WHEN 1 THEN 'start' ELSE 'stop' END" "generate_series(1, $resources)"
for ((round = 1; round <= RUNS; round++)); do
	new_stream bench
	log first
	step new bench '2024-03-05 01:00Z'
	expect "$resources"
	watched verify "SELECT count(*) FROM meter.verify('bench')"
	expect 0
	copies bench 1
	timed 'new floor' "SELECT count(c) FROM (SELECT count(*) AS c FROM bench.event GROUP BY resource) r; $(write_states); $(write_ledger)"

	vacuum bench
	step hour bench '2024-03-05 02:00Z'
	expect "$resources"
	watched idle "SET meter.now = '2024-03-05 02:00Z'" "SELECT meter.advance('bench')" "SELECT usage_rows FROM meter.advance('bench')"
	expect 0
	copies bench 2
	timed 'hour floor' "$(write_ledger)"

	log third
	advance bench '2024-03-05 03:00Z'
	log fourth
	step known bench '2024-03-05 04:00Z'
	expect "$resources"
done
if has last_step; then
	say 'settle: what the last step says'
	psql -Xqx -c "SELECT * FROM meter.last_step('bench', 'vm')"
fi
[ -z "$(sql "SELECT FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"

header
figure "settle $resources new events of as many new resources" new 'count(*) GROUP BY resource, INSERTs of states and ledger' 'new floor' '<= 0.9'
figure "settle $resources events of as many known ones, half stop" known 'the settle of the new ones' new '<= 1.1'
figure "close an hour of $resources, no event" hour 'INSERT of the same rows' 'hour floor' '<= 1.1'
figure "verify $resources" verify 'the first settle' new '<= 1.2'
within 'an idle step' idle '<= 0.004'
