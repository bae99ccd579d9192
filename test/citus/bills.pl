# Promise: on a cluster the same rows make the same bills. Ledger, totals, settlements and what is held are the same, to the byte, as those of the
# same stream on one node, whatever is done to both: late rows, duplicates, voids, rows that are held and released, a rewind, segments that roll
# and are sealed, months, shards that move; for all kinds of meters.
#
#   METER_CITUS_ROWS=n     events and as many measures, 3,000 by default
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use Test::More;

citus_or_skip();
my $rows = $ENV{METER_CITUS_ROWS} || 3000;
my ($coordinator, @workers) = start_cluster('bills', 'log_statement = all', 'citus.max_cached_conns_per_worker = 1');

my @meters = (
	"'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', since => '2024-03-05 00:00Z'",
	"'daily', clock => 'event', starts => '{start}', stops => '{stop}', changes => '{resize}', period => '1 day', timezone => 'Europe/Berlin'",
	"'weighted', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '1 hour'",
	"'runs', aggregate => 'runs', starts => '{start}', stops => '{stop}'",
	"'alive', starts => '{start}', stops => '{stop}', changes => '{resize}', liveness => '2 hours', rounding_of => 'run', minimum => '10 minutes'",
	"'bytes', aggregate => 'sum', dimensions => '{zone}'",
	"'counter', aggregate => 'counter', dimensions => '{zone}', period => '1 day'",
	"'peak', aggregate => 'max', dimensions => '{}'",
	"'kinds', aggregate => 'unique', value_from => 'kind', dimensions => '{}'");

# $n events and measures from number $from on, within 36 hours of an instant. Sent again, they say the same.
sub load_rows
{
	my ($from, $n, $time) = @_;
	my $at = "'$time'::timestamptz + ((hashint4(i) & 65535) * 2) * interval '1 s'";
	both(<<"SQL");
INSERT INTO cloud.event (source, id, "time", resource, account, action, offering, value)
SELECT 's', 'e' || i, $at, 'vm' || i % 700, 'account' || (i % 700) % 7, (ARRAY['start', 'stop', 'start', 'resize'])[1 + i % 4],
	(ARRAY['small', 'large'])[1 + (i / 3) % 2], i % 13 FROM generate_series($from, $from + $n - 1) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, value, attributes)
SELECT 's', 'm' || i, $at, $at + (i % 5000) * interval '1 s', 'vm' || i % 900, i % 1000,
	jsonb_build_object('zone', 'z' || i % 3, 'kind', 'k' || i % 9) FROM generate_series($from, $from + $n - 1) i;
SQL
	return;
}

my $columns = 'transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement';

# Settles all that is due at an instant, and compares everything.
sub settle
{
	my ($now, $what) = @_;
	both("SET meter.now = '$now'; CALL meter.run('cloud')");
	same("SELECT name, watermark, settlement, running, states, failures, last_error FROM meter.meter WHERE stream = 'cloud' ORDER BY 1", "$what: progress");
	same("SELECT meter, count(*), sum(quantity), md5(string_agg(concat_ws('|', $columns), ';' ORDER BY transaction_id)) FROM cloud.usage GROUP BY 1 ORDER BY 1",
		"$what: ledger");
	same("SELECT meter, count(*), md5(string_agg(concat_ws('|', account, dimensions, period_start, quantity, dimensions_key), ';' "
		  . 'ORDER BY account, period_start, dimensions_key)) FROM cloud.account_usage GROUP BY 1 ORDER BY 1', "$what: totals");
	same('SELECT meter, settlement, watermark, position, usage_rows, first_transaction_id, last_transaction_id FROM cloud.settlement ORDER BY 1, 2',
		"$what: settlements");
	same('SELECT meter, log, arrival, "time", reason FROM cloud.held ORDER BY 1, 2, 3', "$what: held");
	is(sql("SELECT count(*) FROM meter.verify('cloud')"), '0', "$what: verify is empty");
	return;
}

# --- a stream with rows becomes a distributed one ---

both("SELECT meter.create_stream('cloud'); " . join('', map { "SELECT meter.create_meter('cloud', $_);\n" } @meters));
load_rows(1, $rows / 3, '2024-03-05 00:00Z');
settle('2024-03-05 22:00Z', 'one node');
both(q(INSERT INTO cloud.event (source, id, "time", resource, account, action) VALUES ('s', 'old', '2023-02-01 10:00Z', 'vm7', 'account1', 'start')));
settle('2024-03-05 22:00Z', 'one node, a row held');
sql("SELECT meter.distribute_stream('cloud', 4)");
is(sql("SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = 'cloud.event'::regclass"), '2', 'both workers have shards');
settle('2024-03-05 22:00Z', 'distributed');

# --- and goes on ---

load_rows($rows / 4, $rows / 3, '2024-03-05 12:00Z');
my $log = -s $workers[0]->logfile;
settle('2024-03-07 12:00Z', 'late rows and duplicates');
foreach my $worker (@workers)
{
	my $text = PostgreSQL::Test::Utils::slurp_file($worker->logfile);
	like($text, qr/PREPARE TRANSACTION 'citus_0_/, $worker->name . ' has prepared what a step wrote');
}

both(<<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, action) SELECT 's', 'e' || i, '2024-03-05 12:00Z'::timestamptz + ((hashint4(i) & 65535) * 2) * interval '1 s',
	'vm' || i % 700, 'void' FROM generate_series(1000, 2000, 37) i;
INSERT INTO cloud.event (source, id, "time", resource, account, action) SELECT 's', 'h' || i, '2023-02-01'::timestamptz + i * interval '1 h', 'vm' || i, 'account1', 'start'
	FROM generate_series(1, 20) i;
SQL
settle('2024-03-07 12:00Z', 'voids and rows held');
same("SET meter.now = '2024-03-07 12:00Z'; SELECT meter.release('cloud', 'vm'), meter.discard('cloud', 'runs'),
	meter.release('cloud', 'weighted', (SELECT array_agg(arrival) FROM cloud.held WHERE meter = 'weighted' AND \"time\" < '2023-02-01 05:00Z'))", 'released');
settle('2024-03-07 12:00Z', 'rows that were released');

same("SELECT meter.roll('cloud')", 'rolled');
load_rows($rows / 2, $rows / 3, '2024-03-07 00:00Z');
settle('2024-03-08 12:00Z', 'segments');
same('SELECT log, segment, state, rows FROM meter.log_segments(\'cloud\')', 'segments: sealed');
load_rows($rows * 2 / 3, $rows / 3, '2024-03-07 12:00Z');
settle('2024-03-09 06:00Z', 'late rows of sealed segments');

same("SET meter.now = '2024-03-09 06:00Z'; SELECT meter.rewind('cloud', name, watermark) FROM (VALUES ('vm', '2024-03-06 00:00Z'::timestamptz), ('counter', '2024-03-06 00:00Z'),
	('daily', '2024-03-05 23:00Z')) m (name, watermark)", 'rewound');
settle('2024-03-09 06:00Z', 'rewound');
settle('2024-04-02 06:00Z', 'another month');

# --- shards move while nothing is settled, and go on there ---

my ($from, $to) = map { $_->port } @workers;
sql("SELECT citus_move_shard_placement(shardid, 'localhost', $from, 'localhost', $to, 'block_writes') FROM (SELECT min(shardid) AS shardid FROM citus_shards
	WHERE table_name = 'cloud.event'::regclass AND nodeport = $from) s");
load_rows($rows, 500, '2024-04-02 00:00Z');
settle('2024-04-04 00:00Z', 'a shard has moved');

# --- consumers get each row once ---

my $digest = "count(*), sum(quantity), md5(string_agg(transaction_id::text, ',' ORDER BY meter, settlement, transaction_id))";
both("SELECT meter.create_consumer('cloud', 'rater', from_start => true)");
my $batch = 1;
same("SELECT $digest FROM meter.next_batch('cloud', 'rater', 20000); SELECT meter.finish_batch('cloud', 'rater', $batch)", 'batch ' . $batch++) foreach 1 .. 2;

# --- what comes as values ---

both(<<'SQL');
SELECT meter.ingest('cloud', '{"time":"2024-04-03T10:00:00Z","resource":"x1","account":"account1","action":"start","id":"x1"}');
SELECT meter.ingest_json('cloud', '[{"time":"2024-04-03T10:00:00Z","resource":"x2","account":"account1","action":"start","id":"x2"}]');
INSERT INTO cloud.inbox VALUES ('{"time":"2024-04-03T10:00:00Z","resource":"x3","account":"account1","action":"start","id":"x3"}');
INSERT INTO cloud.measure_inbox VALUES ('{"start_time":"2024-04-03T10:00:00Z","end_time":"2024-04-03T10:30:00Z","resource":"x3","value":7,"id":"x3"}');
COPY cloud.event ("time", resource, account, action) FROM stdin;
2024-04-03 11:00Z	x4	account1	start
\.
SQL
settle('2024-04-04 06:00Z', 'values');

# --- a fault is seen, and repaired ---

my $id = sql("SELECT min(transaction_id::text) FROM cloud.usage WHERE meter = 'vm' AND resource = 'vm2'");
is(sql("UPDATE cloud.usage SET quantity = quantity + 1 WHERE transaction_id = '$id' AND resource = 'vm2'; SELECT count(*), count(resource), sum(ledger - expected) FROM meter.verify('cloud')"),
	'2|1|0', 'what was changed is found: the resource, and a total');
is(sql("SELECT meter.resettle('cloud', 'vm'); SELECT count(*) FROM meter.verify('cloud')"), "1\n0", 'and corrected');

both("SELECT meter.drop_meter('cloud', 'peak'); SELECT meter.create_meter('cloud', 'new', starts => '{start}', stops => '{stop}')");
is(sql("SELECT count(*) FROM meter.status WHERE stream = 'cloud'"), scalar(@meters), 'status');
sql("SELECT meter.drop_stream('cloud', delete_data => true)");
is(sql('SELECT count(*) FROM pg_dist_partition'), '0', 'nothing is left of a stream that is dropped');

done_testing();
