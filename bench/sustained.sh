# shellcheck shell=bash
# Ingest by COPY, and the worker that settles, side by side, for DURATION seconds: events a second.
#
# Events have ids and come in the order of their time, each minute of theirs in a COPY of its own, 600,000 to an hour: 100,000
# resources start and stop in turn, three times each. COPY waits while it is more than two such hours ahead of the watermark,
# and the time ends when all is settled, so that only what the worker keeps up with counts.

resources=$(scaled 100000)
aim=120000

# One hour, a file for each minute. "@" stands for date and hour, in ids, too, so that those are new.
say "sustained: $((resources * 6)) events to an hour"
sql "CREATE UNLOGGED TABLE minutes AS SELECT (i * 60 / $resources + n * 10) % 60 AS minute, i, n
	FROM generate_series(0, $resources - 1) i, generate_series(0, 5) n"
for ((minute = 0; minute < 60; minute++)); do
	sql "COPY (SELECT 'dc', '@-' || i || '-' || n, format('@:%s:%sZ', minute, i % 60), md5(i::text)::uuid, 'account-' || i % 1000,
			CASE n % 2 WHEN 0 THEN 'start' ELSE 'stop' END, 'm' FROM minutes WHERE minute = $minute ORDER BY i % 60)
		TO '$SCRATCH/sustained/minute-$minute'"
done
new_stream bench "starts => '{start}', stops => '{stop}', clock => 'event'"

# hour_of N: the Nth hour, as text.
hour_of() { date -u -d "@$((1709596800 + $1 * 3600))" '+%Y-%m-%d %H'; }

# wait_for HOUR: until the watermark has come there.
wait_for() {
	until [ "$(sql "SELECT watermark >= '$(hour_of "$1"):00Z' FROM meter.status WHERE stream = 'bench'")" = t ]; do
		[ -z "$(sql "SELECT last_error FROM meter.status WHERE stream = 'bench'")" ] || die 'the worker failed'
		sleep 0.1
	done
}

# copy_hour N: in one session.
copy_hour() {
	local minute
	for ((minute = 0; minute < 60; minute++)); do
		echo "\\copy bench.event (source, id, \"time\", resource, account, action, offering) from program 'sed \"s/@/$(hour_of "$1")/g\" $SCRATCH/sustained/minute-$minute'"
	done | psql -Xq -v ON_ERROR_STOP=1
}

say "sustained: $DURATION seconds"
sql "ALTER SYSTEM SET autovacuum_naptime = '10s'" 'ALTER SYSTEM SET autovacuum = on' "ALTER SYSTEM SET meter.naptime = '1s'" \
	'ALTER SYSTEM SET meter.enabled = on' 'SELECT pg_reload_conf()' >/dev/null
psql -XqAt >"$SCRATCH/worker-memory" <<<"SELECT max(private_kb(pid)) FROM pg_stat_activity WHERE backend_type LIKE 'meter%' \\watch 1" &
watcher=$!
began=$(date +%s%N)
for ((hour = 0; $(date +%s%N) - began < DURATION * 1000000000; hour++)); do
	((hour < 3)) || wait_for $((hour - 2))
	copy_hour "$hour"
done
sql "INSERT INTO bench.event (\"time\", resource, action) VALUES ('$(hour_of "$hour"):00Z', 'clock', 'tick')"
wait_for "$hour"
sample sustained $((($(date +%s%N) - began) / 1000000))
kill "$watcher"
wait "$watcher" || true
remember_peak 'the worker of bench/sustained.sh' "$(sort -n "$SCRATCH/worker-memory" | tail -n 1)"
[ "$(sql 'SELECT count(*) FROM bench.usage')" = $((resources * hour)) ] || die 'rows are missing'

header
rate "COPY and settle of $((resources * 6 * hour)) events" sustained $((resources * 6 * hour)) "$aim"
