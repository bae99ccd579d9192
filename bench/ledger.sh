# shellcheck shell=bash
# The ledger that people read: what totals cost, an account's month from them, an account's usage up to now, what a consumer
# pays, and late events in a ledger of years.
#
# Each stream but one has resources of many accounts that run. 100,000 events have come since the last settle. An account's month is 720
# periods of three offerings, as they would be in a ledger of 100,000,000 rows: in the totals of 1,000 accounts.

many=$(scaled 1000000)
few=$(scaled 100000)
unsettled=$(scaled 100000)

# fleet STREAM RESOURCES ACCOUNTS: each starts, and its first hour is settled.
fleet() {
	new_stream "$1"
	sql "INSERT INTO $1.event (source, id, \"time\", resource, account, action, offering)
		SELECT 'dc', i::text, '2024-03-05 00:00Z'::timestamptz + i % 3599 * interval '1 s', md5(i::text)::uuid::text, 'account-' || i % $3, 'start', 'm' || i % 4
		FROM generate_series(1, $2) i ORDER BY 3"
	advance "$1" '2024-03-05 01:00Z'
	vacuum "$1"
}

# settled STREAM: its next hour, too, and the log so far in a segment that is sealed.
settled() {
	sql "SELECT meter.roll('$1')" "SET meter.now = '2024-03-05 02:00Z'" "CALL meter.run('$1')" >/dev/null
}

# tail_of STREAM RESOURCES: events, not settled, of some of the resources.
tail_of() {
	sql "INSERT INTO $1.event (source, id, \"time\", resource, action, offering)
		SELECT 'dc', 't' || i, '2024-03-05 02:00Z'::timestamptz + i % 1799 * interval '1 s', md5((1 + i * 7 % $2)::text)::uuid::text, 'resize', 'm' || i % 4
		FROM generate_series(1, $unsettled) i ORDER BY 3"
	vacuum "$1"
}

# years STREAM MONTHS DAYS: resources that run for so many months, by days, and as many late events, which change as many of the
# last days.
years() {
	local from end
	from=$(sql "SELECT timestamptz '2024-03-01 00:00Z' - interval '$2 months'")
	end='2024-03-01 00:00Z'
	sql "SELECT meter.drop_stream('$1', delete_data => true, if_exists => true)" "SELECT meter.create_stream('$1')" \
		"SELECT meter.create_meter('$1', 'vm', starts => '{start}', stops => '{stop}', period => '1 day', lateness => '0', max_lateness => NULL, since => '$from')" \
		"INSERT INTO $1.event (\"time\", resource, account, action, offering)
			SELECT '$from'::timestamptz + i % 3599 * interval '1 s', md5(i::text)::uuid::text, 'account-' || i % 100, 'start', 'm' || i % 4 FROM generate_series(1, $late_events / 2) i" \
		"SELECT meter.roll('$1')" "SET meter.now = '$end'" "CALL meter.run('$1')" \
		"INSERT INTO $1.event (\"time\", resource, action)
			SELECT '$end'::timestamptz - (1 + i * 7919 % $3) * interval '1 day' + interval '12 h' + CASE action WHEN 'start' THEN interval '1 h' ELSE '0' END,
				md5(i::text)::uuid::text, action FROM generate_series(1, $late_events / 2) i, (VALUES ('stop'), ('start')) a (action)" >/dev/null
	vacuum "$1"
}

# segments STREAM EVENTS: so many events in each of 100 hours, of 1,000 resources, each hour in a segment of its own.
segments() {
	local hour
	new_stream "$1"
	for ((hour = 0; hour < 100; hour++)); do
		sql "INSERT INTO $1.event (source, id, \"time\", resource, account, action, offering)
			SELECT 'dc', $hour || '-' || i, '2024-03-05 00:00Z'::timestamptz + $hour * interval '1 h' + i * 3600::bigint / $2 * interval '1 s', 'vm-' || i % 1000,
				'account-' || i % 100, CASE (i / 1000 + $hour) % 2 WHEN 0 THEN 'start' ELSE 'stop' END, 'm' FROM generate_series(0, $2 - 1) i" \
			"SELECT meter.roll('$1')" "SELECT set_config('meter.now', (timestamptz '2024-03-05 01:00Z' + $hour * interval '1 h')::text, false)" "CALL meter.run('$1')" >/dev/null
	done
	vacuum "$1"
}

# client NAME <SCRIPT: a sample of the time that a psql takes to get all that a script returns.
client() {
	local began
	cat >client.sql
	began=$(date +%s%N)
	psql -XqAt -v ON_ERROR_STOP=1 -o /dev/null -f client.sql || die "failed: $1"
	sample "$1" $((($(date +%s%N) - began) / 1000000))
}

# repeat N LINES
repeat() { awk -v n="$1" -v lines="$2" 'BEGIN { for (; n > 0; n--) print lines }'; }

say "ledger: $many and $few resources run"
for ((round = 1; round <= RUNS; round++)); do
	fleet bench "$many" 10000
	step hour bench '2024-03-05 02:00Z'
	expect "$many"
	copies bench 2
	timed 'hour floor' "$(write_ledger)"
done

say "ledger: a consumer of $many rows"
vacuum bench
for ((round = 1; round <= RUNS; round++)); do
	# behind the first hour
	sql "SELECT meter.create_consumer('bench', 'c$round', from_start => true)" \
		"UPDATE meter.consumer_position SET settlement = 1" >/dev/null
	client consume < <(repeat $((many / 10000 + 1)) "SELECT * FROM meter.next_batch('bench', 'c$round');
		SELECT meter.finish_batch('bench', 'c$round', batch) FROM meter.consumer WHERE name = 'c$round' AND opened_at IS NOT NULL;")
	client 'read' <<<"SELECT * FROM bench.usage WHERE transaction_id >= meter_internal.transaction_id_from('2024-03-05 01:00Z') ORDER BY transaction_id;"
	[ "$(sql 'SELECT rows FROM meter.consumer_status')" = 0 ] || die 'the consumer has not read all'
	sql "SELECT meter.create_consumer('bench', 'n$round')" >/dev/null
	client nothing < <(repeat 20000 "SELECT * FROM meter.next_batch('bench', 'n$round');")
	client one < <(repeat 20000 'SELECT 1;')
	sql "SELECT meter.drop_consumer('bench', 'c$round'), meter.drop_consumer('bench', 'n$round')" >/dev/null
done

say 'ledger: late events in a ledger of 24 months'
late_events=$(scaled 10000)
for ((round = 1; round <= RUNS; round++)); do
	for spread in '24 28' '1 28' '24 700'; do
		# shellcheck disable=SC2086 # words
		years years $spread
		timed "late $spread" "SET meter.now = '2024-03-01 00:00Z'" 'SET meter.batch_rows = 2000000000' "SELECT adjustments FROM meter.advance('years', 'vm')"
		expect $((late_events / 2))
	done
	[ -z "$(sql "SELECT FROM meter.verify('years', 'vm') LIMIT 1")" ] || die "verify is not empty"
done

say 'ledger: totals of 1,000 accounts'
accounts=$(scaled 1000)
sql "SELECT meter.create_meter('bench', 'month', starts => '{none}', stops => '{stop}', lateness => '0', since => '2024-04-01 00:00Z')" \
	"SET meter.now = '2024-05-01 00:00Z'" "SELECT meter.advance('bench', 'month')" "SELECT meter.drop_meter('bench', 'month')" >/dev/null
sql "INSERT INTO bench.account_usage SELECT 'month', 'account-' || a, '2024-04-01 00:00Z'::timestamptz + p * interval '1 h', d, 60,
		encode(substr(sha256(convert_to(d::text, 'UTF8')), 1, 16), 'hex')::uuid
	FROM generate_series(1, $accounts) a, generate_series(0, 719) p, (SELECT jsonb_build_object('offering', 'm' || i) AS d FROM generate_series(1, 3) i) o
	ORDER BY a"
vacuum bench
for ((round = 1; round <= RUNS; round++)); do
	timed month "SELECT sum(quantity) FROM bench.account_usage WHERE meter = 'month' AND account = 'account-1'
		AND period_start >= '2024-04-01 00:00Z' AND period_start < '2024-05-01 00:00Z'"
	expect $((720 * 3 * 60))
done

say "ledger: usage up to now, $unsettled events not settled"
fleet large "$many" $((many / 20))
settled large
tail_of large "$many"
fleet small "$few" $((few / 20))
settled small
tail_of small "$few"
for ((round = 1; round <= RUNS; round++)); do
	for stream in large small; do
		timed "live $stream" "SET meter.now = '2024-03-05 02:30Z'" "SELECT count(*) FROM meter.live_usage('$stream', 'account-1')" \
			"SELECT count(DISTINCT resource) FROM meter.live_usage('$stream', 'account-1') WHERE NOT settled"
		expect 20
	done
done

say 'ledger: a row explained, from a log of 100 segments'
segments parts "$(scaled 10000)"
[ "$(sql "SELECT count(*) FROM meter.log_segments('parts') WHERE log = 'event' AND state = 'sealed'")" -ge 99 ] || die 'segments are not sealed'
row=$(sql "SELECT transaction_id FROM parts.usage WHERE resource = 'vm-1' ORDER BY transaction_id DESC LIMIT 1")
for ((round = 1; round <= RUNS; round++)); do
	timed 'explain first' "SELECT count(*) > 1 FROM meter.explain('parts', '$row')"
	expect t
	timed explain "SELECT count(*) FROM meter.explain('parts', '$row')" "SELECT count(*) > 1 FROM meter.explain('parts', '$row')"
	expect t
done
for stream in bench large small parts; do
	[ -z "$(sql "SELECT FROM meter.verify('$stream', 'vm') LIMIT 1")" ] || die "verify is not empty"
done

header
figure "close an hour of $many of 10,000 accounts, totals included" hour 'INSERT of the same rows into a ledger' 'hour floor' '<= 1.2'
within "a month of one account of $accounts, from totals" month '< 0.005'
within "live usage of one account, 20 of $many, $unsettled events" 'live large' '< 0.030'
figure "the same with $many running" 'live large' "with $few" 'live small' '<= 1.3'
within 'a row explained, from a log of 100 segments' explain '< 0.050'
within 'the same, the first in its session' 'explain first' '< 0.100'
figure "a client that finds nothing new, 20,000 times" nothing 'SELECT 1' one '<= 3'
figure "a client gets $many new rows, in batches of 10,000" consume 'SELECT by key' read '<= 1.5'
figure "$late_events late events of 28 days, in a ledger of 24 months" 'late 24 28' 'in one of a month' 'late 1 28' '<= 1.3'
figure "$late_events late events of 700 days" 'late 24 700' 'of 28 days' 'late 1 28'
