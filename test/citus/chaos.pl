# Promise: exactly once, whichever node fails. In each round the coordinator or a worker is killed (SIGKILL) while sessions write events and measures, late,
# twice and out of order, while others settle, and while a consumer reads the ledger. After the last one, ledger and totals are those of a stream on
# one node that got the rows that are in the logs, the consumer has the ledger, and meter.verify is empty.
#
#   METER_SEED=n              the same choices again (what meets what depends on the machine all the same)
#   METER_CITUS_ROUNDS=n      so many nodes are killed, 6 by default
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use CitusTest;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

citus_or_skip();
my $seed   = seed();
my $rounds = $ENV{METER_CITUS_ROUNDS} || 6;
my ($coordinator, @workers) = start_cluster('chaos', 'citus.recover_2pc_interval = 1s', 'citus.node_connection_timeout = 5s', 'meter.segment_rows = 400');

my $clock = 20;			# hours after the first of March

sub one_of { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub at     { return sprintf "'2024-03-01 00:00Z'::timestamptz + %d * interval '1 s'", $_[0]; }

# --- what is written: one row in ten is one that was sent before -----------------------------------------------------------------------

my $number = 0;
my (@events, @measures);

sub time_of
{
	my $back = rand();
	return int(3600 * ($clock - ($back < 0.6 ? rand(1) : $back < 0.9 ? rand(10) : rand(20))));
}

sub rows_of
{
	my ($sent, $make) = @_;
	my @rows;
	foreach (1 .. 1 + int(rand(20)))
	{
		push @rows, @$sent && chance(0.1) ? one_of(@$sent) : $make->(++$number);
		push @$sent, $rows[-1];
	}
	return join(', ', @rows);
}

sub write_rows
{
	my $events = rows_of(\@events, sub {
			sprintf q{('s', 'e%d', %s, 'vm%d', %s, '%s', '%s', %d)}, $_[0], at(time_of()), rand(40), one_of("'a'", "'b'", 'NULL'), one_of('start', 'start', 'stop', 'resize'),
			one_of('small', 'large'), rand(9);
	});
	my $measures = rows_of(\@measures, sub {
			my $time = time_of();
			sprintf q{('s', 'm%d', %s, %s, 'ip%d', '%s', %d)}, $_[0], at($time), at($time + rand(3000)), rand(20), one_of('a', 'b'), rand(1000);
	});
	my $script = qq{INSERT INTO cloud.event (source, id, "time", resource, account, action, offering, value) VALUES $events;\n};
	$script .= qq{INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, value) VALUES $measures;\n} if chance(0.7);
	return chance(0.1) ? "BEGIN; $script ROLLBACK;\n" : "BEGIN; $script COMMIT;\n";
}

# What a consumer does with a batch is in the transaction that finishes it.
my $consume = <<'SQL';
DO $$
DECLARE
	open_batch bigint;
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS fetched AS SELECT * FROM meter.next_batch('cloud', 'rater', 500) LIMIT 0;
	TRUNCATE fetched;
	INSERT INTO fetched SELECT * FROM meter.next_batch('cloud', 'rater', 500);
	SELECT max(batch) INTO open_batch FROM fetched;
	IF open_batch IS NOT NULL THEN
		INSERT INTO public.got SELECT transaction_id, quantity FROM fetched;
		PERFORM meter.finish_batch('cloud', 'rater', open_batch);
	END IF;
END $$;
SQL

sub script_of { return join '', map { $_[1]->() . sprintf("SELECT pg_sleep(%.3f);\n", rand(0.1)) } 1 .. $_[0]; }

# --- the rounds --------------------------------------------------------------------------------------------------------------------------

both(<<'SQL');
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering}', lateness => '1 hour');
SELECT meter.create_meter('cloud', 'weighted', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}');
SELECT meter.create_meter('cloud', 'bytes', aggregate => 'sum', lateness => '0');
SQL
sql("SELECT meter.distribute_stream('cloud', 4); SELECT meter.create_consumer('cloud', 'rater', from_start => true); CREATE TABLE public.got (transaction_id uuid PRIMARY KEY, quantity numeric)");

# A node that was killed starts when what is left of it is gone.
sub restart
{
	my ($node) = @_;
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	while (--$tries > 0 && !$node->start(fail_ok => 1))
	{
		sleep(0.1);
		$node->stop('immediate', fail_ok => 1);
	}
	return;
}

my $settle = sub { sprintf "SELECT set_config('meter.now', (%s)::text, false);\nSELECT count(*) FROM meter.advance('cloud');\n", at(3600 * $clock) };
foreach my $round (1 .. $rounds)
{
	$clock += 1 + int(rand(4));
	my $node = one_of($coordinator, @workers);
	my @sessions = map { background(quietly($_), 1) } (map { script_of(15, \&write_rows) } 1 .. 2), script_of(8, $settle), script_of(8, sub { $consume });
	sleep(0.2 + rand(1.5));
	note("round $round: " . $node->name . ' is killed');
	$node->kill9;
	# the other sessions go on without the node, as far as they come
	sleep(rand(0.5));
	restart($node);
	finish($_) foreach @sessions;
	ok($coordinator->poll_query_until('cluster', 'SELECT true'), "round $round: the coordinator is there");
	sql($settle->());
}

# --- the end -----------------------------------------------------------------------------------------------------------------------------

ok($coordinator->poll_query_until('cluster', "SELECT sum(result::bigint) = 0 FROM run_command_on_workers('SELECT count(*) FROM pg_prepared_xacts')"), 'all nodes have committed');
cmp_ok(sql('SELECT count(*) FROM cloud.event'), '>', 100, 'rows were logged');
$clock += 30;
foreach my $log (['event', 'source, id, "time", resource, account, action, offering, value'], ['measure', 'source, id, start_time, end_time, resource, account, value'])
{
	my ($table, $columns) = @$log;
	my $rows = sql("COPY (SELECT $columns FROM cloud.$table ORDER BY arrival) TO STDOUT");
	$coordinator->safe_psql('alone', "COPY cloud.$table ($columns) FROM stdin;\n$rows\n\\.\n");
}
both($settle->() . $settle->() . $settle->());
same('SELECT meter, account, resource, dimensions, period_start, trim_scale(sum(quantity)) FROM cloud.usage GROUP BY 1, 2, 3, 4, 5 HAVING sum(quantity) <> 0 ORDER BY 1, 2, 3, dimensions::text, 5', 'the ledger');
same('SELECT meter, account, dimensions, period_start, trim_scale(quantity) FROM cloud.account_usage WHERE quantity <> 0 ORDER BY 1, 2, dimensions::text, 4', 'totals');
same("SELECT name, watermark, running, states, last_error FROM meter.meter WHERE stream = 'cloud' ORDER BY 1", 'progress');
is(sql("SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');
is(sql('WITH u AS (SELECT meter, settlement, count(*) AS rows FROM cloud.usage GROUP BY 1, 2) SELECT count(*) FROM cloud.settlement s LEFT JOIN u USING (meter, settlement) WHERE coalesce(u.rows, 0) <> s.usage_rows'),
	'0', 'each settlement has its rows');
sql($consume =~ s{500}{20000}gr) foreach 1 .. 4;
is(sql('WITH u AS MATERIALIZED (SELECT transaction_id, quantity FROM cloud.usage) SELECT (SELECT count(*) FROM public.got), count(*) FROM public.got g JOIN u USING (transaction_id, quantity)'),
	join('|', (sql('SELECT count(*) FROM cloud.usage')) x 2), 'the consumer has each row of the ledger once');

done_testing();
