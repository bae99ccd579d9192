# Promise: a real trace comes out exactly, whatever order it arrives in and however often: one part of Google's cluster-usage traces
# (77,776 rows, 25,006 tasks), compared task by task with window functions over the same rows, and with the figures that come
# with the data.
#
# The data lie in $METER_DATA/google-tasks-small; without them the test skips itself. METER_SEED=n shuffles again as before.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = ($ENV{METER_DATA} // '') . '/google-tasks-small';
my ($file) = glob("$folder/part-*.csv.gz");
plan skip_all => 'no trace: METER_DATA does not lead to google-tasks-small' unless defined $file && -r $file;

my $truth = JSON::PP->new->decode(slurp_file("$folder/truth.json"));
my $seed  = seed();
my $node  = start_server('trace');

# Every row becomes an event; the meter names those that matter. The trace's clock begins at midnight: its rows lie between
# 01:33:31 and 02:57:02, so the event clock settles up to 02:00.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE raw (microseconds bigint, missing text, job text, task text, machine text, type int, "user" text, class text,
	priority text, cpu numeric, memory numeric, disk numeric, different text, line bigint GENERATED ALWAYS AS IDENTITY);
COPY raw (microseconds, missing, job, task, machine, type, "user", class, priority, cpu, memory, disk, different)
	FROM PROGRAM 'gzip -dc "$file"' (FORMAT csv);
CREATE TABLE feed AS
SELECT line, '2011-05-01 00:00Z'::timestamptz + microseconds * interval '1 microsecond' AS "time",
	job || '-' || task AS resource, "user" AS account, 'task' AS entity,
	(ARRAY['submit', 'schedule', 'evict', 'fail', 'finish', 'kill', 'lost', 'update_pending', 'update_running'])[type + 1] AS action,
	class AS offering, cpu AS value
FROM raw;

-- The oracle: a run is a start that does not follow a start, up to the first stop after it; ends is NULL where there is none.
CREATE FUNCTION runs(watermark timestamptz)
RETURNS TABLE (resource text, account text, offering text, cpu numeric, begins timestamptz, ends timestamptz) LANGUAGE sql STABLE AS \$\$
	WITH lifecycle AS (
		SELECT resource, account, offering, value AS cpu, "time", action = 'schedule' AS starts
		FROM feed WHERE action IN ('schedule', 'evict', 'fail', 'finish', 'kill', 'lost') AND "time" < watermark
	), change AS (
		SELECT *, starts AND NOT coalesce(lag(starts) OVER in_time, false) AS opens,
			min("time") FILTER (WHERE NOT starts) OVER (in_time ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS ends
		FROM lifecycle WINDOW in_time AS (PARTITION BY resource ORDER BY "time")
	)
	SELECT resource, account, offering, cpu, "time", ends FROM change WHERE opens
\$\$;
CREATE FUNCTION expected(watermark timestamptz)
RETURNS TABLE (resource text, account text, offering text, period_start timestamptz, seconds numeric) LANGUAGE sql STABLE AS \$\$
	SELECT r.resource, r.account, r.offering, h, sum(extract(epoch FROM
		least(r.ends, watermark, h + interval '1 hour') - greatest(r.begins, h)))
	FROM runs(watermark) r
	JOIN generate_series(watermark - interval '5 hours', watermark - interval '1 hour', '1 hour') h
		ON r.begins < h + interval '1 hour' AND (r.ends > h OR r.ends IS NULL)
	GROUP BY 1, 2, 3, 4
\$\$;
SQL

# What a stream's ledger says, and how it compares.
sub compare
{
	my ($way, $watermark) = @_;
	return <<"SQL";
SELECT '$watermark watermark', watermark = '2011-05-01 $watermark:00Z' FROM meter.status WHERE stream = '$way' AND meter = 'task';
SELECT '$watermark error', string_agg(last_error, '; ') FROM meter.status WHERE stream = '$way' HAVING count(last_error) > 0;
CREATE TEMP TABLE said_$watermark AS
	SELECT resource, account, dimensions ->> 'offering' AS offering, period_start, sum(quantity) AS seconds
	FROM $way.usage WHERE meter = 'task' GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0;
SELECT '$watermark tasks', count(DISTINCT resource) > 5000 FROM said_$watermark;
SELECT '$watermark differences', count(*)
	FROM said_$watermark s FULL JOIN expected('2011-05-01 $watermark:00Z') e USING (resource, account, offering, period_start)
	WHERE s.seconds IS DISTINCT FROM e.seconds;
SELECT '$watermark sums', md5(string_agg(format('%s %s %s %s %s', resource, account, offering, extract(epoch FROM period_start), trim_scale(seconds)),
	E'\\n' ORDER BY resource COLLATE "C", account COLLATE "C", offering COLLATE "C", period_start)) FROM said_$watermark;
SELECT '$watermark verify', count(*) FROM meter.verify('$way');
SELECT '$watermark again', sum(usage_rows + adjustments + late_rows) FROM meter.advance('$way');
SQL
}

# The ways it is loaded: the order of the rows, whether some come twice, and in how many parts, each followed by a settle.
my $columns = '"time", resource, account, entity, action, offering, value';
my $twice   = "UNION ALL SELECT * FROM feed TABLESAMPLE BERNOULLI (5) REPEATABLE ($seed)";
my %way     = (
	in_file_order => [ 'line',     '',     1 ],
	shuffled      => [ 'random()', '',     1 ],
	some_twice    => [ 'random()', $twice, 1 ],
	in_parts      => [ 'random()', $twice, 4 ]);
my %sums;

foreach my $way (sort keys %way)
{
	my ($order, $more, $parts) = @{ $way{$way} };
	my $script = <<"SQL";
SELECT FROM setseed($seed / 1e9);
SELECT FROM meter.create_stream('$way');
SELECT FROM meter.create_meter('$way', 'task', starts => '{schedule}', stops => '{evict,fail,finish,kill,lost}', changes => '{update_running}',
	rounding => 'none', unit => '1 second', clock => 'event', lateness => '0');
SELECT FROM meter.create_meter('$way', 'cpu', aggregate => 'weighted', starts => '{schedule}', stops => '{evict,fail,finish,kill,lost}',
	changes => '{update_running}', unit => '1 second', clock => 'event', lateness => '0');
CREATE TEMP TABLE fed AS
	SELECT row_number() OVER () AS n, * FROM (SELECT * FROM (SELECT * FROM feed $more) rows ORDER BY $order) ordered;
SQL
	$script .= <<"SQL" foreach 1 .. $parts;
INSERT INTO $way.event ($columns) SELECT $columns FROM fed WHERE n % $parts = $_ - 1 ORDER BY n;
CALL meter.run('$way');
SQL
	$script .= "SELECT 'rows', count(*) FROM $way.event;\n" . compare($way, '02');

	# A sign of life an hour later lets the clock settle the rest of the trace: now every stop in it is known.
	$script .= qq(INSERT INTO $way.event ("time", resource, action) VALUES ('2011-05-01 03:00Z', 'clock', 'tick');\nCALL meter.run('$way');\n);
	$script .= compare($way, '03') . <<"SQL";
CREATE TEMP TABLE run AS SELECT * FROM runs('2011-05-01 03:00Z');
SELECT 'pairs', count(ends) FROM run;
SELECT 'open at the end', count(*) FROM run WHERE ends IS NULL;
SELECT 'closed runs', (SELECT sum(seconds) FROM said_03) - (SELECT sum(extract(epoch FROM '2011-05-01 03:00Z' - begins)) FROM run WHERE ends IS NULL);
SELECT 'cpu in closed runs', (SELECT sum(quantity) FROM $way.usage WHERE meter = 'cpu')
	- (SELECT sum(extract(epoch FROM '2011-05-01 03:00Z' - begins) * cpu) FROM run WHERE ends IS NULL);
SELECT 'task ' || resource, trim_scale(sum(seconds)) FROM said_03
	WHERE resource NOT IN (SELECT resource FROM run WHERE ends IS NULL) GROUP BY resource;
-- the same of what was settled first: tasks whose last run was closed by 02:00 and which did not start again
SELECT 'early tasks', count(*) > 1000 FROM (SELECT resource FROM run GROUP BY 1 HAVING max(coalesce(ends, 'infinity')) < '2011-05-01 02:00Z') q;
SELECT 'early differences', count(*)
	FROM (SELECT resource, sum(extract(epoch FROM ends - begins)) AS seconds FROM run GROUP BY 1
		  HAVING max(coalesce(ends, 'infinity')) < '2011-05-01 02:00Z') closed
	LEFT JOIN (SELECT resource, sum(seconds) AS seconds FROM said_02 GROUP BY 1) said USING (resource)
	WHERE said.seconds IS DISTINCT FROM nullif(closed.seconds, 0);
SQL

	my $answer = answers($node, $script);
	subtest $way => sub {
		cmp_ok($answer->{rows}, $more ? '>' : '==', $truth->{rows}, "$answer->{rows} rows fed");
		foreach my $watermark ('02', '03')
		{
			is($answer->{"$watermark error"},       undef, "settled to $watermark:00 without an error");
			is($answer->{"$watermark watermark"},   't',   "settled to $watermark:00");
			is($answer->{"$watermark tasks"},       't',   'many tasks');
			is($answer->{"$watermark differences"}, 0,     'as window functions over the same rows say');
			is($answer->{"$watermark sums"}, $sums{$watermark} //= $answer->{"$watermark sums"}, 'the same as in other orders, to the microsecond');
			is($answer->{"$watermark verify"}, 0, 'verify is empty');
			is($answer->{"$watermark again"},  0, 'a second settle has nothing to do');
		}
		is($answer->{pairs},             $truth->{pairs},       'pairs as the data say');
		is($answer->{'open at the end'}, $truth->{open_at_end}, 'open runs as the data say');
		is(number($answer->{'closed runs'}), number($truth->{total_seconds}), 'seconds in closed runs as the data say');
		is(number($answer->{'cpu in closed runs'}), number($truth->{value_seconds_following_resizes}), 'CPU seconds in closed runs as the data say');
		is($answer->{'early tasks'},       't', 'many tasks ended before the first watermark');
		is($answer->{'early differences'}, 0,   'and are billed their closed runs by then');

		my $known = 0;
		foreach (@{ $truth->{per_resource_top20_seconds} })
		{
			my ($task, $seconds) = @$_;
			next unless defined $answer->{"task $task"};
			is($answer->{"task $task"}, number($seconds), "task $task as the data say");
			$known++;
		}
		cmp_ok($known, '>', 0, 'the longest tasks are among them');
	};
}

$node->stop;
done_testing();
