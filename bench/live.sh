# shellcheck shell=bash
# Asking: current_usage where only the last hour is not settled; anomalies of 1,000,000 events and five meters.

running=$(scaled 100000)
short=$(scaled 650000)
midnight='2024-03-06 00:00Z'

say "live: $running resources run, $short ran within a day"
new_stream bench
sql "INSERT INTO bench.event (source, id, \"time\", resource, account, action, offering)
	SELECT 'dc', md5(i || '-' || n)::uuid::text, CASE WHEN i > $short THEN '2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s'
			ELSE '2024-03-05 00:00Z'::timestamptz + i * 88200::bigint / $short * interval '1 s' + n * interval '30 min' END,
		md5(i::text)::uuid::text, 'account-' || i % 1000, CASE n WHEN 0 THEN 'start' ELSE 'stop' END, 'm'
	FROM generate_series(1, $running + $short) i, generate_series(0, 1) n WHERE n = 0 OR i <= $short ORDER BY 3"
sql "SET meter.now = '$midnight'" "CALL meter.run('bench')"
vacuum bench

meters=5
resources=$(scaled 100000)
say "live: $((resources * 10)) events, $meters meters"
sql "SELECT meter.create_stream('odd')" >/dev/null
for ((meter = 1; meter <= meters; meter++)); do
	sql "SELECT meter.create_meter('odd', 'vm$meter', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 00:00Z')" >/dev/null
done
# odd FROM TO: of each resource events FROM to TO of ten in a day; of a thousand resources one begins with a stop, one only starts.
odd() {
	sql "INSERT INTO odd.event (source, id, \"time\", resource, account, action, offering)
		SELECT 'dc', md5(i || '-' || n)::uuid::text, '2024-03-05 00:00Z'::timestamptz + n * interval '2 h' + i % 7200 * interval '1 s', 'vm-' || i,
			'account-' || i % 1000, CASE WHEN (CASE i % 1000 WHEN 0 THEN n + 1 WHEN 1 THEN 0 ELSE n END) % 2 = 0 THEN 'start' ELSE 'stop' END, 'm'
		FROM generate_series(1, $resources) i, generate_series($1, $2) n ORDER BY 3"
}
odd 0 8
sql "SELECT meter.roll('odd')" "SET meter.now = '2024-03-05 18:00Z'" "CALL meter.run('odd')" >/dev/null
odd 9 9
sql "SET meter.now = '$midnight'" "CALL meter.run('odd')"
vacuum odd
odd_resource=vm-$((resources / 1000 * 1000))

say "live: asking"
for ((round = 1; round <= RUNS; round++)); do
	watched usage "SET meter.now = '2024-03-06 00:59:59Z'" \
		"SELECT count(*) > $running, sum(quantity) > 0 FROM bench.current_usage WHERE NOT settled"
	expect 't|t'
	watched anomaly "SET meter.now = '$midnight'" "SELECT count(DISTINCT resource) FROM odd.anomaly"
	expect $((resources / 1000 + (resources + 999) / 1000))
	has anomalies || continue
	watched 'one class' "SET meter.now = '$midnight'" "SELECT count(*) FROM meter.anomalies('odd', 'orphan stop', 'vm1', '$odd_resource', NULL)"
	expect $((resources >= 1000))
done

header
within "current_usage, the last hour of $((running + short * 2)) events" usage '< 1'
within "anomaly, $((resources * 10)) events, $meters meters" anomaly '< 15'
if has anomalies; then
	within 'one class of one resource' 'one class' '< 0.100'
else
	skipped 'one class of one resource' 'there is no function meter.anomalies'
fi
