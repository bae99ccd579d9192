# Promise: over a real trace of which a part is lost, snapshots of the true state keep the ledger at or below the truth, by exactly as
# much as the rules allow; and when the lost events arrive after all, the ledger is the truth.
#
# Eight parts of Google's cluster-usage traces (1,429,340 rows, 399,959 tasks, 11.3 hours). 5 % of the events are dropped; each hour
# there is a snapshot of what truly ran, with since. The data lie in $METER_DATA/google-tasks; without them the test skips itself.
#
#   METER_SEED=n     drops the same events again
#   METER_SHARE=n    so many percent of the tasks; 3 if not said
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use Test::More;

my @files = glob(($ENV{METER_DATA} // '') . '/google-tasks/part-*.csv.gz');
plan skip_all => 'no trace: METER_DATA does not lead to google-tasks' unless @files && -r $files[0];

my $seed  = seed();
my $share = $ENV{METER_SHARE} // 3;
my $node  = start_server('reconcile_trace');
my $load  = join("\n", map {
	qq(COPY raw (microseconds, missing, job, task, machine, type, "user", class, priority, cpu, memory, disk, different) FROM PROGRAM 'gzip -dc "$_"' (FORMAT csv);)
} @files);

# feed: what happened; lost: the part of it that does not arrive; run: what truly ran, by window functions over the feed.
$node->safe_psql('postgres', <<"SQL");
SET work_mem = '64MB';
SELECT setseed($seed / 1e9);
CREATE TABLE raw (microseconds bigint, missing text, job text, task text, machine text, type int, "user" text, class text,
	priority text, cpu numeric, memory numeric, disk numeric, different text);
$load
CREATE TABLE feed AS
SELECT row_number() OVER () AS line, '2011-05-01 00:00Z'::timestamptz + microseconds * interval '1 microsecond' AS "time", job || '-' || task AS resource,
	"user" AS account, (ARRAY['schedule', 'evict', 'fail', 'finish', 'kill', 'lost', NULL, 'update_running'])[type] AS action, class AS offering
FROM raw WHERE type BETWEEN 1 AND 8 AND type <> 7 AND mod(hashtextextended(job || '-' || task, 0) & 1073741823, 100) < $share;
DROP TABLE raw;
CREATE TABLE lost AS SELECT * FROM feed WHERE random() < 0.05;
CREATE INDEX ON feed (resource);
CREATE INDEX ON lost (resource);
ANALYZE feed, lost;
CREATE TABLE run AS
	WITH change AS (
		SELECT *, action = 'schedule' AND NOT coalesce(lag(action = 'schedule') OVER in_time, false) AS opens,
			min("time") FILTER (WHERE action <> 'schedule') OVER (in_time ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS ends
		FROM feed WHERE action <> 'update_running' WINDOW in_time AS (PARTITION BY resource ORDER BY "time")
	)
	SELECT resource, account, offering, "time" AS begins, ends FROM change WHERE opens;
CREATE TABLE truth AS
	SELECT r.resource, r.account, r.offering, h AS period_start,
		sum(extract(epoch FROM least(r.ends, h + interval '1 hour') - greatest(r.begins, h))) AS seconds
	FROM run r JOIN generate_series('2011-05-01 00:00Z'::timestamptz, '2011-05-01 10:00Z', '1 hour') h
		ON r.begins < h + interval '1 hour' AND (r.ends > h OR r.ends IS NULL)
	GROUP BY 1, 2, 3, 4 HAVING sum(extract(epoch FROM least(r.ends, h + interval '1 hour') - greatest(r.begins, h))) <> 0;
CREATE TABLE once AS
	SELECT resource FROM feed WHERE resource IN (SELECT resource FROM run) GROUP BY resource
	HAVING count(*) FILTER (WHERE action = 'schedule') = 1 AND count(*) FILTER (WHERE action NOT IN ('schedule', 'update_running')) <= 1;
CREATE INDEX ON once (resource);
ANALYZE run, truth, once;

-- What the rules allow of a run that was the only one: where its start is lost it is known from the first snapshot on that held it, and
-- from its beginning, since that says since when; where its stop is lost it ends at the last moment known alive.
CREATE TABLE allowed AS
	SELECT x.resource, CASE WHEN start_lost AND last_seen IS NULL THEN begins ELSE
		CASE WHEN NOT stop_lost THEN least(ends, '2011-05-01 11:00Z') WHEN ends > '2011-05-01 11:00Z' THEN '2011-05-01 11:00Z'
			ELSE greatest(begins, last_seen, last_change) END END AS ends, begins
	FROM (SELECT r.resource, r.begins, coalesce(r.ends, 'infinity') AS ends,
			EXISTS (SELECT FROM lost l WHERE l.resource = r.resource AND l."time" = r.begins AND l.action = 'schedule') AS start_lost,
			r.ends IS NULL OR EXISTS (SELECT FROM lost l WHERE l.resource = r.resource AND l."time" = r.ends AND l.action <> 'schedule') AS stop_lost,
			(SELECT max(h) FROM generate_series('2011-05-01 01:00Z'::timestamptz, '2011-05-01 11:00Z', '1 hour') h
				WHERE h >= r.begins AND (h < r.ends OR r.ends IS NULL)) AS last_seen,
			(SELECT max(f."time") FROM feed f WHERE f.resource = r.resource AND f.action = 'update_running' AND f."time" >= r.begins
				AND (f."time" < r.ends OR r.ends IS NULL) AND NOT EXISTS (SELECT FROM lost l WHERE l.line = f.line)) AS last_change
		FROM run r JOIN once o USING (resource)
		WHERE r.begins < '2011-05-01 11:00Z') x;
SQL

my $columns = '"time", source, resource, account, entity, action, offering';
my $script  = <<'SQL';
SELECT FROM meter.create_stream('trace');
SELECT FROM meter.create_meter('trace', 'task', starts => '{schedule}', stops => '{evict,fail,finish,kill,lost}', changes => '{update_running}',
	rounding => 'none', unit => '1 second', lateness => '0');
SQL
foreach my $hour (1 .. 11)
{
	my $at = sprintf('2011-05-01 %02d:00Z', $hour);
	$script .= <<"SQL";
SET meter.now = '$at';
INSERT INTO trace.event ($columns) SELECT "time", 'google', resource, account, 'task', action, offering FROM feed f
	WHERE "time" <= '$at' AND "time" > '$at'::timestamptz - interval '1 hour' - (CASE WHEN $hour = 1 THEN interval '1 second' ELSE '0' END)
	AND NOT EXISTS (SELECT FROM lost l WHERE l.line = f.line) ORDER BY random();
INSERT INTO trace.inventory (source, at, resource, account, entity, offering, since)
	SELECT 'google', '$at', resource, account, 'task', offering, begins FROM run WHERE begins <= '$at' AND (ends > '$at' OR ends IS NULL);
SELECT 'corrections at $hour', count(*) > 0 FROM meter.reconcile('trace', 'google', '$at');
CALL meter.run('trace');
SQL
}
my $said = <<'SQL';
(SELECT resource, account, dimensions ->> 'offering' AS offering, period_start, sum(quantity) AS seconds
	FROM trace.usage GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0)
SQL
$script .= <<"SQL";
SELECT 'verify', count(*) FROM meter.verify('trace');
SELECT 'lost', count(*) FROM lost WHERE "time" < '2011-05-01 11:00Z';
SELECT 'observations', string_agg(n || ' ' || action, ', ' ORDER BY action) FROM (SELECT action, count(*) AS n FROM trace.event WHERE action LIKE 'reconciled:%' GROUP BY 1) x;
SELECT 'above', count(*) FROM $said s LEFT JOIN truth t USING (resource, account, offering, period_start)
	WHERE s.seconds > coalesce(t.seconds, 0) AND resource IN (SELECT resource FROM once);
SELECT 'above, of those that ran again', count(*) || ' of ' || (SELECT count(DISTINCT resource) FROM run WHERE NOT EXISTS (SELECT FROM once o WHERE o.resource = run.resource))
	FROM (SELECT resource FROM $said s LEFT JOIN truth t USING (resource, account, offering, period_start)
		WHERE NOT EXISTS (SELECT FROM once o WHERE o.resource = s.resource) GROUP BY 1 HAVING sum(s.seconds) > sum(coalesce(t.seconds, 0))) x;
SELECT 'shortfall', trim_scale((SELECT sum(seconds) FROM truth WHERE resource IN (SELECT resource FROM once))
	- (SELECT sum(seconds) FROM $said s WHERE resource IN (SELECT resource FROM once)));
SELECT 'allowed', trim_scale((SELECT sum(seconds) FROM truth WHERE resource IN (SELECT resource FROM once))
	- (SELECT sum(extract(epoch FROM ends - begins)) FROM allowed));
SELECT 'not as allowed', count(*) FROM (SELECT resource, sum(seconds) AS seconds FROM $said s WHERE resource IN (SELECT resource FROM once) GROUP BY 1) s
	FULL JOIN (SELECT resource, extract(epoch FROM ends - begins) AS seconds FROM allowed WHERE ends > begins) a USING (resource)
	WHERE s.seconds IS DISTINCT FROM a.seconds;
SELECT 'truth', trim_scale(sum(seconds)) FROM truth;

INSERT INTO trace.event ($columns) SELECT "time", 'google', resource, account, 'task', action, offering FROM lost ORDER BY random();
CALL meter.run('trace');
SELECT 'found', count(*) FROM $said s FULL JOIN truth t USING (resource, account, offering, period_start) WHERE s.seconds IS DISTINCT FROM t.seconds;
SELECT 'found verify', count(*) FROM meter.verify('trace');
SELECT 'error', coalesce(string_agg(last_error, '; '), '') FROM meter.status;
SELECT 'again', sum(usage_rows + adjustments + late_rows) FROM meter.advance('trace');
SQL
my $answer = answers($node, $script);
note("$_: " . ($answer->{$_} // '?')) foreach 'lost', 'observations', 'truth', 'shortfall', 'allowed', 'above, of those that ran again';
cmp_ok($answer->{lost} // 0, '>', 0, 'events are lost');
is($answer->{"corrections at $_"}, 't', "the snapshot at $_:00 finds something") foreach 1 .. 11;
is($answer->{verify}, '0', 'verify is empty');
is($answer->{above}, '0', 'of what truly ran once nothing is above the truth');
is($answer->{'not as allowed'}, '0', 'and each falls short by what the rules allow');
is($answer->{shortfall}, $answer->{allowed}, 'all in all as well');
is($answer->{found}, '0', 'when what was lost arrives the ledger is the truth');
is($answer->{'found verify'}, '0', 'and verify is empty');
is($answer->{again}, '0', 'there is nothing left to do');
is($answer->{error}, '', 'nothing failed');
$node->stop;
done_testing();
