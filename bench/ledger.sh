# shellcheck shell=bash
# The ledger that people read: what totals cost, an account's month from them, an account's usage up to now.
#
# Each stream has resources of many accounts that run. 100,000 events have come since the last settle. An account's month is 720
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

say "ledger: $many and $few resources run"
for ((round = 1; round <= RUNS; round++)); do
	fleet bench "$many" 10000
	step hour bench '2024-03-05 02:00Z'
	expect "$many"
	copies bench 2
	timed 'hour floor' "$(write_ledger)"
done

say 'ledger: totals of 1,000 accounts'
accounts=$(scaled 1000)
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
for stream in bench large small; do
	[ -z "$(sql "SELECT FROM meter.verify('$stream', 'vm') LIMIT 1")" ] || die "verify is not empty"
done

header
figure "close an hour of $many of 10,000 accounts, totals included" hour 'INSERT of the same rows into a ledger' 'hour floor' '<= 1.2'
within "a month of one account of $accounts, from totals" month '< 0.005'
within "live usage of one account, 20 of $many, $unsettled events" 'live large' '< 0.030'
figure "the same with $many running" 'live large' "with $few" 'live small' '<= 1.3'
