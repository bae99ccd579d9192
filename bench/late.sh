# shellcheck shell=bash
# Late rows behind a long history: 1,000 events of as many resources; one event of a resource with 1,000,000 older ones; one
# measure of a resource with 1,000,000 readings.

resources=$(scaled 50000)
late=$(scaled 1000)

# history STREAM DAY: a run of an hour of each resource, on each day from that one of March to the 30th, settled day by day; each
# day has a segment.
history() {
	local stream=$1 day
	sql "SELECT meter.create_stream('$stream')" \
		"SELECT meter.create_meter('$stream', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-$2 00:00Z')" >/dev/null
	for ((day = $2; day <= 30; day++)); do
		sql "SELECT meter.roll('$stream')" >/dev/null
		sql "INSERT INTO $stream.event (source, id, \"time\", resource, account, action, offering)
				SELECT 'dc', i || '-' || n || '-$day', '2024-03-$day 00:00Z'::timestamptz + n * interval '1 h' + i % 82800 * interval '1 s',
					md5(i::text)::uuid::text, 'account-' || i % 1000, CASE n WHEN 0 THEN 'start' ELSE 'stop' END, 'm'
				FROM generate_series(1, $resources) i, generate_series(0, 1) n ORDER BY 3" \
			"SET meter.now = '2024-03-$((day + 1)) 00:00Z'" "CALL meter.run('$stream')"
	done
	vacuum "$stream"
}

# late_events STREAM: a step in which resources, other ones each round, have stopped half an hour after their start.
late_events() {
	sql "INSERT INTO $1.event (source, id, \"time\", resource, action) SELECT 'dc', i || '-late', '2024-03-30 00:30Z'::timestamptz + i % 82800 * interval '1 s',
		md5(i::text)::uuid::text, 'stop' FROM generate_series($round, $late * $RUNS, $RUNS) i" CHECKPOINT
	watched "$1" "SET meter.now = '2024-03-31 00:00Z'" "SELECT late_rows FROM meter.advance('$1')"
	expect "$late"
}

say "late: $resources resources, 1 and 30 days of history"
history day 30
history month 1
for ((round = 1; round <= RUNS; round++)); do
	late_events day
	late_events month
done
[ -z "$(sql "SELECT FROM meter.verify('month') LIMIT 1")" ] || die "verify is not empty"

# In a log of 1,000 days one resource has many rows, and another one in 1,000 of them.
rows=$(scaled 1000000)
few=$(scaled 1000)
begin="'2022-01-01 00:00Z'::timestamptz"
now=$(sql "SELECT $begin + interval '1000 days'")
# long_past STREAM TABLE COLUMNS SELECT: rows in sealed segments, and settled.
long_past() {
	sql "INSERT INTO $1.$2 $3 $4" "SELECT meter.roll('$1')" "SET meter.now = '$now'" "CALL meter.run('$1')" >/dev/null
	vacuum "$1"
}

say "late: $rows events of one resource, $few of another"
sql "SELECT meter.create_stream('past')" \
	"SELECT meter.create_meter('past', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => $begin)" >/dev/null
long_past past event '(source, id, "time", resource, account, action, offering)' "SELECT 'dc', r || i, $begin + i * interval '1000 days' / n, r, 'account',
	CASE i % 2 WHEN 0 THEN 'start' ELSE 'stop' END, 'm' FROM (VALUES ('large', $rows), ('small', $few)) v (r, n), generate_series(0, n - 1) i ORDER BY 3"
for ((round = 1; round <= RUNS; round++)); do
	for resource in small large; do
		sql "INSERT INTO past.event (source, id, \"time\", resource, action)
			VALUES ('dc', '$resource-late-$round', '$now'::timestamptz - interval '2 h' - $round * interval '1 s', '$resource', 'stop')" CHECKPOINT
		watched "$resource" "SET meter.now = '$now'" "SELECT late_rows FROM meter.advance('past')"
		expect 1
	done
done
[ -z "$(sql "SELECT FROM meter.verify('past') LIMIT 1")" ] || die "verify is not empty"

others=$(scaled 100000)
say "late: $rows readings of one resource, $others rows in the newest segment"
sql "SELECT meter.create_stream('read')" >/dev/null
for aggregate in sum counter; do
	sql "SELECT meter.create_meter('read', '$aggregate', aggregate => '$aggregate', dimensions => '{}', lateness => '0', since => $begin)" >/dev/null
done
columns='(source, id, start_time, end_time, resource, account, value)'
long_past read measure "$columns" "SELECT 'leaf', i, $begin + i * interval '1000 days' / $rows, $begin + i * interval '1000 days' / $rows,
	'large', 'account', 10 * i FROM generate_series(0, $rows - 1) i"
sql "INSERT INTO read.measure $columns SELECT 'leaf', 'other-' || i, at, at, 'other-' || i % 1000, 'account', i
		FROM (SELECT i, '$now'::timestamptz - interval '1 day' + i * interval '1 day' / $others AS at FROM generate_series(0, $others - 1) i) i" \
	"SET meter.now = '$now'" "CALL meter.run('read')"
vacuum read
for ((round = 1; round <= RUNS; round++)); do
	sql "INSERT INTO read.measure $columns SELECT 'leaf', 'late-$round', at, at, 'large', 'account', 10 * $rows - 1
		FROM (SELECT '$now'::timestamptz - interval '2 h' - $round * interval '1 s' AS at) a" CHECKPOINT
	for aggregate in sum counter; do
		watched "late $aggregate" "SET meter.now = '$now'" "SELECT late_rows FROM meter.advance('read', '$aggregate')"
		expect 1
	done
done
[ -z "$(sql "SELECT FROM meter.verify('read') LIMIT 1")" ] || die "verify is not empty"

header
figure "$late late events, 30 days of history" month '1 day of history' day '<= 1.3'
figure "one late event of a resource with $rows older ones" large "with $few" small '<= 3'
within "one late measure of a resource with $rows, sum" 'late sum' '< 0.050'
within "one late reading of a resource with $rows, counter" 'late counter' '< 0.050'
