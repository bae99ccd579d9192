# shellcheck shell=bash
# shellcheck disable=SC2154 # best is of bench/run, which sources this
# Pairing events, against the floor (no single pass can be faster than counting), window functions and range_agg.
#
# Ratios: with a target "<= x", time / baseline; with ">= x", baseline / time. work_mem is the default, except for the
# window queries, which get the better of 4MB and 64MB (more made them slower).

say "timelines: making $ROWS events of $((ROWS / 20)) resources, and of 1,000, in random order"
psql -q -v "rows=$ROWS" <<'SQL'
CREATE UNLOGGED TABLE event AS
SELECT (md5((i % (:rows / 20))::text)::uuid)::text COLLATE "C" AS resource,
	'2024-03-01Z'::timestamptz + (i / (:rows / 20) * 36 + random() * 36) * interval '1 hour' AS "time",
	i / (:rows / 20) % 2 = 0 AS active
FROM generate_series(0, :rows - 1) i ORDER BY random();
CREATE UNLOGGED TABLE large AS
SELECT (md5((i % 1000)::text)::uuid)::text COLLATE "C" AS resource,
	'2024-03-01Z'::timestamptz + (i / 1000 + random()) * 31 / (:rows / 1000) * interval '24 hours' AS "time",
	i / 1000 % 2 = 0 AS active
FROM generate_series(0, :rows - 1) i ORDER BY random();
CREATE INDEX event_in_order ON event (resource, "time") INCLUDE (active);
VACUUM (ANALYZE) event, large;
ALTER TABLE event SET (parallel_workers = 2);

CREATE TABLE line AS
SELECT resource, meter.timeline("time", active) AS line FROM event WHERE resource < '01' GROUP BY resource;
CREATE TABLE run AS SELECT resource, during FROM line, meter.spans(line);
ANALYZE line, run;
SQL

# the window query: right only where starts and stops alternate, as they do here
window_query() {
	echo "SELECT count(b) FROM (SELECT resource, sum(till - \"time\") FILTER (WHERE active) AS b FROM (SELECT resource, \"time\", active,
		lead(\"time\") OVER (PARTITION BY resource ORDER BY \"time\") AS till FROM $1) e GROUP BY resource) r"
}
billed_query() {
	echo "SELECT count(b) FROM (SELECT meter.billed(\"time\", active) AS b FROM $1 GROUP BY resource) r"
}
count_query() {
	echo "SELECT count(b) FROM (SELECT count(*) AS b FROM $1 GROUP BY resource) r"
}
no_index="SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off"
in_order="SET enable_seqscan = off; SET enable_hashagg = off; SET enable_sort = off"

say "timelines: measuring, $RUNS runs each"
same=$(psql -XqAt -c "SELECT (SELECT b FROM (SELECT sum(b) AS b FROM (SELECT meter.billed(\"time\", active) AS b FROM large GROUP BY resource) x) y)
	= (SELECT sum(till - \"time\") FILTER (WHERE active) FROM (SELECT resource, \"time\", active, lead(\"time\") OVER (PARTITION BY resource ORDER BY \"time\") AS till FROM large) z)")
[ "$same" = t ] || die "the queries disagree"

two="$no_index; SET max_parallel_workers_per_gather = 2"
march="tstzrange('2024-03-01Z', '2024-04-01Z')"
measure floor "$no_index" "$(count_query event)"
measure billed "$no_index" "$(billed_query event)"
measure timeline "$no_index" "SELECT count(b) FROM (SELECT meter.timeline(\"time\", active) AS b FROM event GROUP BY resource) r"
measure workers "$two" "$(billed_query event)"
for memory in 4MB 64MB; do
	measure "window $memory" "$no_index; SET work_mem = '$memory'" "$(window_query event)"
	measure "large window $memory" "SET work_mem = '$memory'" "$(window_query large)"
done
measure ranges "$no_index; SET work_mem = '64MB'" "SELECT count(b) FROM (SELECT range_agg(tstzrange(\"time\", till)) FILTER (WHERE active) AS b FROM (SELECT resource, \"time\", active,
	lead(\"time\") OVER (PARTITION BY resource ORDER BY \"time\") AS till FROM event) e GROUP BY resource) r"
measure 'large floor' "" "$(count_query large)"
measure large "" "$(billed_query large)"
measure 'ordered floor' "$in_order" "$(count_query event)"
measure ordered "$in_order" "$(billed_query event)"
measure 'ordered scan' "$in_order" "SELECT count(*) FROM event"
measure periods "" "SELECT count(*), sum(billed) FROM line, meter.periods(line, $march, '1 hour')"
measure joined "" "SELECT count(*), sum(billed) FROM (SELECT resource, hour, sum(least(upper(during), hour + '1 hour') - greatest(lower(during), hour)) AS billed
	FROM run JOIN generate_series('2024-03-01Z'::timestamptz, '2024-03-31 23:00Z', '1 hour') hour ON during && tstzrange(hour, hour + '1 hour') GROUP BY 1, 2) p"
measure lateral "" "SELECT count(*), sum(billed) FROM (SELECT resource, hour, sum(least(upper(during), hour + '1 hour') - greatest(lower(during), hour)) AS billed
	FROM run, generate_series(date_trunc('hour', lower(during)), least(upper(during), '2024-04-01Z') - interval '1 microsecond', '1 hour') hour GROUP BY 1, 2) p"
plan=$(psql -XqAt -c "SET jit = off; $two" -c "EXPLAIN (COSTS OFF) $(billed_query event)" | grep -Eo 'Partial [A-Za-z]*Aggregate|Gather Merge|Gather' | sort -u | tr '\n' ' ')
run_all
window=$(least 'window 4MB' 'window 64MB')
large_window=$(least 'large window 4MB' 'large window 64MB')

header
row 'billed, serial' "${best[billed]}" 'count(*) GROUP BY resource: the floor' "${best[floor]}" '<= 1.25'
row 'billed, serial' "${best[billed]}" 'lead() window query at its best work_mem' "$window" '>= 1.00'
row 'timeline, serial' "${best[timeline]}" 'count(*) GROUP BY resource: the floor' "${best[floor]}" ''
row 'timeline, serial' "${best[timeline]}" 'range_agg over the lead() window query' "${best[ranges]}" ''
row 'billed, two workers' "${best[workers]}" 'lead() window query, serial' "$window" '>= 1.50'
row 'billed, 1,000 large groups' "${best[large]}" 'lead() window query at its best work_mem' "$large_window" '>= 3.00'
row 'billed, 1,000 large groups' "${best[large]}" 'count(*) GROUP BY resource' "${best[large floor]}" ''
row 'billed, in order from an index' "${best[ordered]}" 'count(*) GROUP BY resource, same scan' "${best[ordered floor]}" '<= 1.50'
row 'billed, in order from an index' "${best[ordered]}" 'count(*), same scan' "${best[ordered scan]}" ''
row 'periods of a month by hours' "${best[periods]}" 'generate_series joined with the ranges' "${best[joined]}" '>= 5.00'
row 'periods of a month by hours' "${best[periods]}" 'generate_series lateral to each range' "${best[lateral]}" ''
say "timelines: the plan with two workers has: $plan"
size=$(psql -XqAt -c "SELECT round(avg(pg_column_size(line)), 1) || ' bytes for ' || round(avg(n), 1) || ' events' FROM line JOIN (SELECT resource, count(*) AS n FROM event GROUP BY resource) e USING (resource)")
say "timelines: a timeline of uuid-keyed events to the microsecond takes $size on disk"
