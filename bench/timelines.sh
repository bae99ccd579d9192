# shellcheck shell=bash
# Pairing 3,000,000 events, against the floor (no single pass can be faster than counting), window functions and range_agg.
#
# work_mem is the default, except where nothing is to spill, and for the window queries, which get the better of 4MB and 64MB
# (more made them slower).

resources=$(scaled 150000)
rows=$((resources * 20))
large=$(scaled 1000)

say "timelines: making $rows events of $resources resources, and of $large, in random order"
psql -Xq -v ON_ERROR_STOP=1 -v "rows=$rows" -v "large=$large" <<'SQL'
CREATE UNLOGGED TABLE event AS
SELECT (md5((i % (:rows / 20))::text)::uuid)::text COLLATE "C" AS resource,
	'2024-03-01Z'::timestamptz + (i / (:rows / 20) * 36 + random() * 36) * interval '1 hour' AS "time",
	i / (:rows / 20) % 2 = 0 AS active
FROM generate_series(0, :rows - 1) i ORDER BY random();
CREATE UNLOGGED TABLE large AS
SELECT (md5((i % :large)::text)::uuid)::text COLLATE "C" AS resource,
	'2024-03-01Z'::timestamptz + (i / :large + random()) * 31 / (:rows / :large) * interval '24 hours' AS "time",
	i / :large % 2 = 0 AS active
FROM generate_series(0, :rows - 1) i ORDER BY random();
CREATE INDEX event_in_order ON event (resource, "time") INCLUDE (active);
VACUUM (ANALYZE) event, large;
ALTER TABLE event SET (parallel_workers = 2);

CREATE TABLE line AS
SELECT resource, meter.timeline("time", active) AS line FROM event WHERE resource < '01' GROUP BY resource;
CREATE TABLE run AS SELECT resource, during FROM line, meter.spans(line);
ANALYZE line, run;
SQL

# fastest NAME…: which of them has the least median.
fastest() {
	local name
	for name in "$@"; do echo "$(of_samples "$name") $name"; done | sort -g | head -n 1 | cut -d ' ' -f 3-
}

# query NAME SETTINGS SQL: to be measured.
order=()
declare -A settings=() queries=()
query() {
	order+=("$1")
	settings[$1]=${2:-SELECT}
	queries[$1]=$3
}

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

same=$(sql "SELECT (SELECT b FROM (SELECT sum(b) AS b FROM (SELECT meter.billed(\"time\", active) AS b FROM large GROUP BY resource) x) y)
	= (SELECT sum(till - \"time\") FILTER (WHERE active) FROM (SELECT resource, \"time\", active, lead(\"time\") OVER (PARTITION BY resource ORDER BY \"time\") AS till FROM large) z)")
[ "$same" = t ] || die "the queries disagree"

two="$no_index; SET max_parallel_workers_per_gather = 2"
march="tstzrange('2024-03-01Z', '2024-04-01Z')"
query 'floor, no spill' "$no_index; SET work_mem = '1GB'" "$(count_query event)"
query 'billed, no spill' "$no_index; SET work_mem = '1GB'" "$(billed_query event)"
query floor "$no_index" "$(count_query event)"
query billed "$no_index" "$(billed_query event)"
query timeline "$no_index" "SELECT count(b) FROM (SELECT meter.timeline(\"time\", active) AS b FROM event GROUP BY resource) r"
query workers "$two" "$(billed_query event)"
for memory in 4MB 64MB; do
	query "window $memory" "$no_index; SET work_mem = '$memory'" "$(window_query event)"
	query "large window $memory" "SET work_mem = '$memory'" "$(window_query large)"
done
query ranges "$no_index; SET work_mem = '64MB'" "SELECT count(b) FROM (SELECT range_agg(tstzrange(\"time\", till)) FILTER (WHERE active) AS b FROM (SELECT resource, \"time\", active,
	lead(\"time\") OVER (PARTITION BY resource ORDER BY \"time\") AS till FROM event) e GROUP BY resource) r"
query 'large floor' "" "$(count_query large)"
query large "" "$(billed_query large)"
query 'ordered floor' "$in_order" "$(count_query event)"
query ordered "$in_order" "$(billed_query event)"
query 'ordered scan' "$in_order" "SELECT count(*) FROM event"
query periods "" "SELECT count(*), sum(billed) FROM line, meter.periods(line, $march, '1 hour')"
query joined "" "SELECT count(*), sum(billed) FROM (SELECT resource, hour, sum(least(upper(during), hour + '1 hour') - greatest(lower(during), hour)) AS billed
	FROM run JOIN generate_series('2024-03-01Z'::timestamptz, '2024-03-31 23:00Z', '1 hour') hour ON during && tstzrange(hour, hour + '1 hour') GROUP BY 1, 2) p"
query lateral "" "SELECT count(*), sum(billed) FROM (SELECT resource, hour, sum(least(upper(during), hour + '1 hour') - greatest(lower(during), hour)) AS billed
	FROM run, generate_series(date_trunc('hour', lower(during)), least(upper(during), '2024-04-01Z') - interval '1 microsecond', '1 hour') hour GROUP BY 1, 2) p"
plan=$(sql "$two" "EXPLAIN (COSTS OFF) $(billed_query event)" | grep -Eo 'Partial [A-Za-z]*Aggregate|Gather Merge|Gather' | sort -u | tr '\n' ' ') || plan=none
say 'timelines: measuring'
for ((round = 1; round <= RUNS; round++)); do
	for query in "${order[@]}"; do
		timed "$query" "${settings[$query]}" "${queries[$query]}"
	done
done
window=$(fastest 'window 4MB' 'window 64MB')
large_window=$(fastest 'large window 4MB' 'large window 64MB')

header
figure 'billed, nothing spills' 'billed, no spill' 'count(*) GROUP BY resource: the floor' 'floor, no spill' '<= 1.25'
figure 'billed' billed 'count(*) GROUP BY resource: the floor' floor '<= 1.25'
figure 'billed' billed 'lead() window query at its best work_mem' "$window" '<= 1.00'
figure 'timeline' timeline 'count(*) GROUP BY resource: the floor' floor
figure 'timeline' timeline 'range_agg over the lead() window query' ranges
figure 'billed, two workers' workers 'lead() window query, serial' "$window" '<= 0.67'
figure "billed, $large large groups" large 'lead() window query at its best work_mem' "$large_window" '<= 0.33'
figure "billed, $large large groups" large 'count(*) GROUP BY resource' 'large floor'
figure 'billed, in order from an index' ordered 'count(*) GROUP BY resource, same scan' 'ordered floor' '<= 1.50'
figure 'billed, in order from an index' ordered 'count(*), same scan' 'ordered scan'
figure 'periods of a month by hours' periods 'generate_series joined with the ranges' joined '<= 0.20'
figure 'periods of a month by hours' periods 'generate_series lateral to each range' lateral
say "timelines: the plan with two workers has: $plan"
size=$(sql "SELECT round(avg(pg_column_size(line)), 1) || ' bytes for ' || round(avg(n), 1) || ' events' FROM line JOIN (SELECT resource, count(*) AS n FROM event GROUP BY resource) e USING (resource)")
say "timelines: a timeline of uuid-keyed events to the microsecond takes $size on disk"
