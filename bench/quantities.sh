# shellcheck shell=bash
# Quantities: settling measures into hours, without ids and with, and the next hour of a stream that has a day of ids behind it.
#
# ROWS=n sets how many measures (10,000,000), of ROWS / 100 resources, one every five minutes. The baseline is a plain INSERT … SELECT
# resource, account, hour, sum(value) … GROUP BY of the same sums, into a table without an index. Both take turns, RUNS rounds, and the
# medians count.

# fill STREAM ID FROM TO: measures FROM to TO of each resource, in the order of time; ID is an expression.
fill() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "INSERT INTO $1.measure (source, id, start_time, end_time, resource, account, value)
		SELECT 'leaf', $2, '2024-03-05 00:00Z'::timestamptz + n * interval '5 min', '2024-03-05 00:05Z'::timestamptz + n * interval '5 min',
			'ip-' || r, 'account-' || r % 1000, (r * 7919 + n * 104729) % 1000000
		FROM generate_series($3, $4) n, generate_series(1, $((ROWS / 100))) r" -c "VACUUM ANALYZE $1.measure"
}
# settle STREAM METER TO: milliseconds.
settle() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "SET client_min_messages = warning" -c CHECKPOINT \
		-c "SELECT meter.create_meter('$1', '$2', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 00:00Z')" >/dev/null
	timed "LOAD 'meter'" "SET meter.batch_rows = 2000000000" "SET meter.now = '$3'" "SELECT usage_rows FROM meter.advance('$1', '$2')"
}
plain() {
	psql -XqAt -c 'SET client_min_messages = warning' -c 'DROP TABLE IF EXISTS plain' -c 'CREATE TABLE plain (resource text COLLATE "C", account text COLLATE "C", hour timestamptz, sum numeric)' -c CHECKPOINT
	timed "INSERT INTO plain SELECT resource, account, date_bin('1 hour', start_time, '2000-01-01 00:00Z'), sum(value) FROM $1.measure WHERE start_time < '2024-03-05 08:00Z' GROUP BY 1, 2, 3"
}

say "quantities: $ROWS measures of $((ROWS / 100)) resources, without ids"
psql -XqAt -v ON_ERROR_STOP=1 -c "SELECT meter.create_stream('bare')" -c "SELECT meter.create_stream('named')" >/dev/null
fill bare NULL 0 99
bare=() plains=() named=() named_plains=()
for ((round = 1; round <= RUNS; round++)); do
	bare+=("$(settle bare "m$round" '2024-03-05 08:00Z')")
	plains+=("$(plain bare)")
done
[ -z "$(psql -XqAt -c "SELECT sum FROM plain EXCEPT SELECT quantity FROM bare.usage WHERE meter = 'm1' LIMIT 1")" ] || die "the sums differ"
psql -XqAt -c "SELECT meter.drop_stream('bare', true)" >/dev/null 2>&1

say "quantities: the same with ids"
fill named "r || '-' || n" 0 99
for ((round = 1; round <= RUNS; round++)); do
	named+=("$(settle named "m$round" '2024-03-05 08:00Z')")
	named_plains+=("$(plain named)")
done
bytes=$(psql -XqAt -c "SELECT pg_total_relation_size('named._duplicate_key') / $RUNS / (SELECT count(*) FROM named.measure)")
[ -z "$(psql -XqAt -c "SELECT FROM meter.verify('named', 'm1') LIMIT 1")" ] || die "verify is not empty"

say "quantities: one hour more, $((ROWS / 100 * 12)) measures"
fill named "r || '-' || n" 100 107
next=$(timed "LOAD 'meter'" "SET meter.batch_rows = 2000000000" "SET meter.now = '2024-03-05 09:00Z'" "SELECT usage_rows FROM meter.advance('named', 'm1')")
say "quantities: $bytes bytes a row for keys"

header
row "$ROWS measures into hours" "$(median "${bare[@]}")" "plain INSERT … SELECT … GROUP BY" "$(median "${plains[@]}")" '<= 2'
row "the same with ids" "$(median "${named[@]}")" "plain INSERT … SELECT … GROUP BY" "$(median "${named_plains[@]}")" '<= 3'
row "the next hour, with ids" "$next" "its share of the eight hours before" "$(($(median "${named[@]}") / 8))" ''
