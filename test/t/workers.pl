# Promise: the meters of a database settle side by side, those of one stream, too, and none waits until another is done.
#
# A trigger on the ledger holds steps up at a gate, so what stands there at one time is a fact that can be waited for: it does
# not depend on how fast anything is. The meters have the clock 'event', so what is settled follows from what was logged.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest ();
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('workers');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.naptime = 1s
meter.max_workers = 8
meter.segment_rows = 100
max_worker_processes = 16
max_prepared_transactions = 2
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;
my $resources = 10;

sub sql   { return $node->safe_psql('billing', $_[0]); }
sub until_so { return $node->poll_query_until('billing', $_[0]); }
sub hour  { return "(timestamptz '2024-01-01 00:00:00Z' + $_[0] * interval '1 hour')"; }

# Logs the hours [from, to) of a stream, and an event that closes them.
sub log_hours
{
	my ($stream, $from, $to) = @_;
	sql(<<"SQL");
INSERT INTO $stream.event ("time", resource, action, account)
SELECT h + minute * interval '1 minute', 'vm' || r, action, 'a'
FROM generate_series(@{[hour($from)]}, @{[hour($to)]} - interval '1 hour', interval '1 hour') h,
	generate_series(1, $resources) r, (VALUES ('start', 10), ('stop', 25)) e (action, minute)
UNION ALL SELECT @{[hour($to)]}, 'clock', 'tick', NULL;
SQL
	return;
}

sub create_stream
{
	my ($stream, @meters) = @_;
	sql("SELECT meter.create_stream('$stream')");
	sql("CREATE TRIGGER gate BEFORE INSERT ON $stream.usage FOR EACH STATEMENT EXECUTE FUNCTION public.pass('$stream')");
	create_meter($stream, $_) foreach @meters;
	return;
}

sub create_meter
{
	my ($stream, $meter) = @_;
	sql("SELECT meter.create_meter('$stream', '$meter', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0')");
	return;
}

sub gate { return sql("UPDATE public.gate SET closed = $_[1] WHERE stream = '$_[0]'"); }

# The steps at the gate: a row a worker.
my $waiting = "(SELECT pid, xact_start, substring(query FROM 'meter \"(.*)\" of') AS meter, substring(query FROM 'stream \"(.*)\"') AS stream "
  . "FROM pg_stat_activity WHERE backend_type = 'meter worker' AND wait_event = 'PgSleep')";

# Waits until a naptime has passed for the launcher, by the turns of another database.
sub pass_naptimes
{
	my $turns = "SELECT turns FROM meter.worker_status WHERE database = 'other'";
	my $before = sql($turns);
	return until_so("SELECT turns >= $before + 3 FROM meter.worker_status WHERE database = 'other'");
}

sub wait_settled
{
	my ($stream, $hours, $meter) = @_;
	return until_so("SELECT watermark = @{[hour($hours)]} FROM meter.status WHERE stream = '$stream' AND meter = '$meter'");
}

sub ledger_is
{
	my ($stream, $hours, $meter) = @_;
	my $rows = $hours * $resources;
	is( sql(<<"SQL"), join('|', $rows, $rows, 15 * $rows, 0, 0), "the ledger of $meter of $stream is right");
SELECT count(*), count(DISTINCT (resource, period_start)), sum(quantity), max(revision), (SELECT count(*) FROM meter.verify('$stream', '$meter'))
FROM $stream.usage WHERE meter = '$meter'
SQL
	return;
}

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(billing other);
$node->safe_psql('other', "CREATE EXTENSION meter; SELECT meter.create_stream('idle'); SELECT meter.create_meter('idle', 'vm', starts => '{start}', stops => '{stop}')");
sql(<<'SQL');
CREATE EXTENSION meter;
CREATE TABLE public.gate (stream text PRIMARY KEY, closed boolean NOT NULL);
INSERT INTO public.gate VALUES ('cloud', true), ('slow', false);
CREATE FUNCTION public.pass() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	WHILE (SELECT closed FROM public.gate WHERE stream = TG_ARGV[0]) LOOP PERFORM pg_sleep(0.05); END LOOP;
	RETURN NULL;
END$$;
SQL
create_stream('cloud', 'a', 'b', 'c', 'd');

my $hours = 0;

sub log_more
{
	my $from = $hours;
	$hours += 4;
	log_hours('cloud', $from, $hours);
	return;
}

foreach my $limit (2, 3, 1)
{
	subtest "as many meters of one stream at one time as there may be workers: $limit" => sub {
		configure($node, 'meter.max_workers_per_database', $limit);
		gate('cloud', 'true');
		log_more();
		ok(until_so("SELECT count(*) = $limit AND count(DISTINCT meter) = $limit FROM $waiting w"), "$limit steps are under way, each of another meter");
		pass_naptimes();
		is(sql("SELECT count(*), count(DISTINCT meter) FROM $waiting w"), "$limit|$limit", 'and no more of them, however many are due');
		is( sql("SELECT string_agg(number::text, ' ' ORDER BY number), count(DISTINCT pid) FROM meter.worker_status WHERE database = 'billing' AND state = 'running'"),
			join(' ', 1 .. $limit) . "|$limit", 'meter.worker_status shows them');
		is(sql("SELECT count(*) FROM meter.worker_status WHERE database = 'other' AND number > 1"), '0', 'but one where one is enough');
		is( sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'meter worker' AND wait_event = 'PgSleep' AND state = 'active'
			AND application_name = 'meter worker: cloud.' || substring(query FROM '^advancing meter \"(.*)\" of stream \"cloud\"\$')"),
			$limit, 'pg_stat_activity tells what each is at, and what it waits for');
		is( sql("SELECT count(*) FROM meter.progress p JOIN pg_stat_activity a USING (pid) WHERE p.operation = 'step' AND a.application_name = 'meter worker: cloud.' || p.meter"),
			$limit, 'and meter.progress how far');
		gate('cloud', 'false');
		wait_settled('cloud', $hours, $_) && ledger_is('cloud', $hours, $_) foreach qw(a b c d);
	};
}

subtest 'a turn that is ended goes on with the next meter' => sub {
	gate('cloud', 'true');
	log_more();
	my @seen;
	foreach (1 .. 4)
	{
		until_so("SELECT count(*) = 1 FROM $waiting w");
		my ($pid, $meter) = split /\|/, sql("SELECT pid, meter FROM $waiting w");
		push @seen, $meter;
		is(sql("SELECT pg_terminate_backend($pid, 60000)"), 't', "a worker is ended during a step of $meter");
	}
	is(join(' ', sort @seen), 'a b c d', 'each meter got a step');
	gate('cloud', 'false');
	wait_settled('cloud', $hours, $_) && ledger_is('cloud', $hours, $_) foreach qw(a b c d);
};

subtest 'a slow meter holds up no other one of its database' => sub {
	configure($node, 'meter.max_workers_per_database', 2);
	gate('slow', 'true');
	create_stream('slow', 'sleepy');
	log_hours('slow', 0, 4);
	ok(until_so("SELECT count(*) = 1 FROM $waiting w WHERE stream = 'slow'"), 'a step of stream "slow" is asleep');
	my $asleep = sql("SELECT pid, xact_start, stream FROM $waiting w");
	foreach (1 .. 3)
	{
		log_more();
		ok(wait_settled('cloud', $hours, $_), "$_ is settled up to hour $hours") foreach qw(a b c d);
	}
	create_meter('cloud', 'e');
	ok(wait_settled('cloud', $hours, 'e'), 'so is a meter that is made meanwhile');
	ok(until_so("SELECT count(*) FILTER (WHERE state = 'sealed') >= 1 AND count(*) FILTER (WHERE state = 'open') = 1 FROM meter.log_segments('cloud') WHERE log = 'event'"),
		'logs are rolled and sealed');
	is(sql("SELECT pid, xact_start, stream FROM $waiting w"), $asleep, 'all that during the same step of stream "slow"');
	gate('slow', 'false');
	wait_settled('slow', 4, 'sleepy') && ledger_is('slow', 4, 'sleepy');
	ledger_is('cloud', $hours, $_) foreach qw(a b c d e);
};

subtest 'a meter that somebody else has locked is passed over, and gets its turn' => sub {
	sql("BEGIN; SELECT FROM meter.meter WHERE stream = 'cloud' AND name = 'a' FOR UPDATE; PREPARE TRANSACTION 'p'");
	log_more();
	ok(wait_settled('cloud', $hours, $_), "$_ is settled") foreach qw(b c d);
	ok(until_so("SELECT bool_and(state = 'waiting') FROM meter.worker_status WHERE database = 'billing'"), 'workers do not wait for it');
	sql("COMMIT PREPARED 'p'");
	wait_settled('cloud', $hours, 'a') && ledger_is('cloud', $hours, $_) foreach qw(a b c d);
};

is($node->safe_psql('billing', 'SELECT count(*) FROM meter.status WHERE failures > 0 OR last_error IS NOT NULL'), '0', 'nothing failed');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|deadlock|signal 11|could not be advanced/, 'the log has nothing that it should not have');
$node->stop;
done_testing();
