# shellcheck shell=bash
# Late events over a long history: 1,000 events of 1,000 resources, two days old, with ROWS / 10 and with ROWS events in
# the log, ten of each resource over thirty days. Segments are rolled and sealed as by default.

# history STREAM EVENTS: five runs of an hour for each of EVENTS / 10 resources, in order of time, in batches that the
# worker would meet, too.
history() {
	local stream=$1 resources=$(($2 / 10)) day
	psql -XqAt -v ON_ERROR_STOP=1 -c "SELECT meter.create_stream('$stream')" \
		-c "SELECT meter.create_meter('$stream', 'vm', starts => '{start}', stops => '{stop}', lateness => '0',
			since => '2024-03-01 00:00Z')" >/dev/null
	for day in {0..29}; do
		psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO $stream.event (\"time\", resource, account, action, offering)
				SELECT t, r, a, x, 'm' FROM (SELECT md5(i::text)::uuid::text AS r, 'account-' || i % 1000 AS a,
					'2024-03-01 00:00Z'::timestamptz + $day * interval '1 day' + i % 82800 * interval '1 s' AS begin
					FROM generate_series(1, $resources) i WHERE i % 6 = $day % 6) i
				CROSS JOIN LATERAL (VALUES (begin, 'start'), (begin + interval '1 h', 'stop')) v (t, x) ORDER BY t" \
			-c "SET meter.now = '2024-03-01 00:00Z'" -c "CALL meter.run('$stream')"
	done
	psql -XqAt -v ON_ERROR_STOP=1 -c "SET meter.now = '2024-03-31 00:00Z'" -c "CALL meter.run('$stream')" \
		-c "VACUUM ANALYZE $stream.event" -c "VACUUM ANALYZE $stream.usage" -c "VACUUM ANALYZE $stream._resource_state"
}

# late STREAM EVENTS ROUND: milliseconds of a step that has 1,000 late events.
late() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO $1.event (\"time\", resource, account, action, offering)
		SELECT '2024-03-29 00:00Z'::timestamptz + i * interval '20 s', md5((i * $(($2 / 10)) / 1000 - $3)::text)::uuid::text,
			'account-1', 'start', 'm' FROM generate_series(1, 1000) i"
	timed "SET meter.now = '2024-03-31 00:00Z'" "SELECT adjustments FROM meter.advance('$1')"
}

say "late: a history of $((ROWS / 10)) events, and one of $ROWS"
history short $((ROWS / 10))
history long "$ROWS"
psql -XqAt -c CHECKPOINT

say "late: five rounds"
shorts=() longs=()
for round in {1..5}; do
	shorts+=("$(late short $((ROWS / 10)) "$round")")
	longs+=("$(late long "$ROWS" "$round")")
done
[ -z "$(psql -XqAt -c "SELECT * FROM meter.verify('short') LIMIT 1")" ] || die "verify is not empty"

header
row "1,000 late events, $ROWS in the log" "$(median "${longs[@]}")" "two seconds" 2000 '<= 1'
row "the same" "$(median "${longs[@]}")" "$((ROWS / 10)) in the log" "$(median "${shorts[@]}")" '<= 1.3'
