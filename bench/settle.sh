# shellcheck shell=bash
# Settling: closing an hour of many running resources, a step with nothing to do, late rows, a backlog.
#
# RESOURCES=n sets how many run (1,000,000). The baseline of an hour is a plain INSERT … SELECT of the same rows, in the
# same order, into a table with the same columns and index; both take turns, five rounds, and the medians count.

RESOURCES=${RESOURCES:-1000000}

# event VALUES: SELECT list of events i.
insert_events() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO bench.event (\"time\", resource, account, action, offering)
		SELECT $1, md5((i)::text)::uuid::text, 'account-' || i % 1000, $2, 'm' || i % 4 FROM $3 i"
}

say "settle: $RESOURCES resources start"
psql -XqAt -v ON_ERROR_STOP=1 -c "SELECT meter.create_stream('bench')" \
	-c "SELECT meter.create_meter('bench', 'vm', starts => '{start}', stops => '{stop}', lateness => '0',
		since => '2024-03-05 00:00Z')" >/dev/null
insert_events "'2024-03-05 00:00Z'::timestamptz + i % 3600 * interval '1 s'" "'start'" "generate_series(1, $RESOURCES)"
psql -XqAt -c 'VACUUM ANALYZE bench.event'
backlog=$(timed "SET meter.now = '2024-03-05 01:00Z'" "SELECT usage_rows FROM meter.advance('bench')")
psql -XqAt -c 'VACUUM ANALYZE bench._resource_state' -c 'CREATE UNLOGGED TABLE rows AS SELECT * FROM bench.usage WHERE false' \
	-c 'CREATE TABLE plain (LIKE bench.usage INCLUDING ALL)'

say "settle: closing an hour with $((RESOURCES / 100)) events in it, five rounds"
hours=() plains=() idles=()
for ((hour = 2; hour <= 6; hour++)); do
	insert_events "'2024-03-05 00:00Z'::timestamptz + ($hour - 1) * interval '1 hour' + i % 3600 * interval '1 s'" "'start'" \
		"generate_series($hour, $RESOURCES, 100)"
	psql -XqAt -c CHECKPOINT
	hours+=("$(timed "SET meter.now = '2024-03-05 0$hour:00Z'" "SELECT usage_rows FROM meter.advance('bench')")")
	idles+=("$(timed "SET meter.now = '2024-03-05 0$hour:00Z'" "SELECT usage_rows FROM meter.advance('bench')" "SELECT usage_rows FROM meter.advance('bench')")")
	psql -XqAt -c 'TRUNCATE plain, rows' \
		-c "INSERT INTO rows SELECT * FROM bench.usage WHERE settlement = $hour ORDER BY transaction_id" -c CHECKPOINT
	plains+=("$(timed 'INSERT INTO plain SELECT * FROM rows')")
done

say "settle: a thousand late events"
insert_events "'2024-03-05 01:30Z'::timestamptz" "'stop'" 'generate_series(1, 1000)'
late=$(timed "SET meter.now = '2024-03-05 06:00Z'" "SELECT adjustments FROM meter.advance('bench')")
[ -z "$(psql -XqAt -c "SELECT * FROM meter.verify('bench') LIMIT 1")" ] || die "verify is not empty"

header
row "closing an hour of $RESOURCES" "$(median "${hours[@]}")" "INSERT of the same rows" "$(median "${plains[@]}")" '<= 1.6'
row "a step with nothing to do" "$(median "${idles[@]}")" "ten milliseconds" 10 '<= 1'
row "1,000 late events, 4 h old" "$late" "two seconds" 2000 '<= 1'
row "first hour: $RESOURCES events" "$backlog" "closing an hour" "$(median "${hours[@]}")" ''
