# shellcheck shell=bash
# Settling an hour with a deduplication window of events behind it, and with an empty window.
#
# Both streams have the same 100,000 resources, each of which starts and stops once in each hour that there is, in events with
# ids. One has all hours, and a day of them behind the first that is measured. The other has an hour every two days.

resources=$(scaled 100000)

# hour STREAM N: settles up to hour N, counted from 2024-03-05, and rolls and seals the log where that is due; logs what happens in
# the hour, and says when it ends.
hour() {
	local begin="'2024-03-05 00:00Z'::timestamptz + $2 * interval '1 h'"
	sql "SET meter.now = '$(sql "SELECT $begin")'" "CALL meter.run('$1')"
	sql "INSERT INTO $1.event (source, id, \"time\", resource, account, action, offering)
		SELECT 'dc', md5(i || '-' || n || '-$2')::uuid::text, $begin + n * interval '30 min' + i % 1800 * interval '1 s', md5(i::text)::uuid::text,
			'account-' || i % 1000, CASE n WHEN 0 THEN 'start' ELSE 'stop' END, 'm' FROM generate_series(0, 1) n, generate_series(1, $resources) i" \
		"SELECT $begin + interval '1 h'"
}

say "window: a day of $((resources * 2)) events an hour"
new_stream behind
new_stream alone
for ((hour = 0; hour < 24; hour++)); do
	advance behind "$(hour behind "$hour")"
done
advance alone "$(hour alone 0)"
for ((round = 1; round <= RUNS; round++)); do
	end=$(hour behind $((23 + round)))
	vacuum behind
	step behind behind "$end"
	expect "$resources"
	end=$(hour alone $((48 * round)))
	vacuum alone
	step alone alone "$end"
	expect "$resources"
done

header
figure "settle an hour of $((resources * 2)) events, 24 such hours behind it" behind 'none behind it' alone '<= 1.1'
