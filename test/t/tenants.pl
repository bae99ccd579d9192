# Promise: one tenant of a database never stops another, whatever its code does: the lag of a healthy stream stays within two
# naptimes and the grace period that a worker has to obey a cancel.
#
# A stream "healthy" gets an hour more every moment, and it is measured how long each takes until it is settled. Beside it a
# hostile stream has meters whose steps never end, or end late, and which are tried again and again.
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
use Time::HiRes qw(time sleep);

my ($naptime, $grace, $timeout) = (3, 3, 1.5);
my $node = PostgreSQL::Test::Cluster->new('tenants');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'meter'
meter.naptime = ${naptime}s
meter.cancel_grace = ${grace}s
meter.step_timeout = @{[ $timeout * 1000 ]}
meter.max_workers = 4
max_worker_processes = 16
max_prepared_transactions = 2
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE billing');

sub sql      { return $node->safe_psql('billing', $_[0]); }
sub until_so { return $node->poll_query_until('billing', $_[0]); }
sub hour     { return "(timestamptz '2024-01-01 00:00:00Z' + $_[0] * interval '1 hour')"; }

sub log_text { return slurp_file($node->logfile); }

# A stream that has runs in some hours, which are closed, and what its owner adds to it.
sub create_stream
{
	my ($stream, $added, @meters) = @_;
	sql("SELECT meter.create_stream('$stream')");
	sql($added) if $added;
	sql("INSERT INTO $stream.event (\"time\", resource, action, account) SELECT @{[hour('h')]}, 'vm' || r, 'start', 'a' FROM generate_series(0, 9) h, generate_series(1, 5) r "
		  . "UNION ALL SELECT @{[hour(10)]}, 'clock', 'tick', NULL");
	sql("SELECT meter.create_meter('$stream', '$_', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0')") foreach @meters;
	return;
}

# Drops a stream: steps that are under way end by their clock.
sub drop_stream
{
	my ($stream) = @_;
	sql("DELETE FROM meter.active_stream WHERE name = '$stream'");
	sql("SELECT meter.drop_stream('$stream', delete_data => true)");
	return;
}

sql('CREATE EXTENSION meter');
create_stream('healthy', undef, 'vm');
until_so("SELECT watermark = @{[hour(10)]} FROM meter.status WHERE stream = 'healthy'");
my $hours = 10;

# Logs an hour every moment for some seconds, and returns the longest time that one took to be settled. The meters of a hostile
# stream are tried at once again, whenever they have failed.
sub greatest_lag
{
	my ($seconds, $hostile) = @_;
	my %logged;
	my ($greatest, $settled) = (0, $hours);
	my $end = time() + $seconds;
	my $give_up = $end + 10 * ($naptime + $grace);
	while (time() < $end || ($settled < $hours && time() < $give_up))
	{
		if (time() < $end)
		{
			$hours++;
			sql("INSERT INTO healthy.event (\"time\", resource, action) VALUES (@{[hour($hours)]}, 'clock', 'tick')");
			$logged{$hours} = time();
		}
		my $watermark = sql(<<"SQL");
WITH m AS (SELECT stream, name FROM meter.meter WHERE stream = '$hostile' AND retry_at IS NOT NULL FOR UPDATE SKIP LOCKED)
UPDATE meter.meter SET retry_at = NULL, failures = 0, halvings = 0 FROM m WHERE meter.stream = m.stream AND meter.name = m.name;
SELECT (extract(epoch FROM watermark - @{[hour(0)]}) / 3600)::integer FROM meter.meter WHERE stream = 'healthy'
SQL
		while ($settled < $watermark)
		{
			$settled++;
			my $lag = time() - $logged{$settled};
			$greatest = $lag if $lag > $greatest;
		}
		sleep(0.2);
	}
	return $settled < $hours ? 1e9 : $greatest;
}

sub is_bounded
{
	my ($seconds, $hostile) = @_;
	my $lag = greatest_lag($seconds, $hostile);
	my $bound = 2 * $naptime + $grace;
	cmp_ok($lag, '<=', $bound, sprintf('the healthy stream lags by %.1f s at most, of %d', $lag, $bound));
	return;
}

my %hostile = (
	'a trigger that swallows cancels' => <<'SQL',
CREATE FUNCTION hostile.harm() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	LOOP
		BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END;
	END LOOP;
END$$;
CREATE TRIGGER harm BEFORE INSERT ON hostile.usage FOR EACH STATEMENT EXECUTE FUNCTION hostile.harm();
SQL
	'a trigger that sleeps' => <<'SQL',
CREATE FUNCTION hostile.harm() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(3600); RETURN NULL; END$$;
CREATE TRIGGER harm BEFORE INSERT ON hostile.usage FOR EACH STATEMENT EXECUTE FUNCTION hostile.harm();
SQL
	'a CHECK that is slow' => <<'SQL',
CREATE FUNCTION hostile.harm() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.3); RETURN true; END$$;
ALTER TABLE hostile.usage ADD CONSTRAINT harm CHECK (hostile.harm());
SQL
	'a row that somebody has locked' => <<'SQL',
CREATE TABLE hostile.total (n bigint);
INSERT INTO hostile.total VALUES (0);
CREATE FUNCTION hostile.harm() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE hostile.total SET n = n + 1; RETURN NULL; END$$;
CREATE TRIGGER harm BEFORE INSERT ON hostile.usage FOR EACH STATEMENT EXECUTE FUNCTION hostile.harm();
SQL
);

foreach my $workers (1, 2)
{
	foreach my $what (sort keys %hostile)
	{
		subtest "$what, beside a healthy stream; workers of the database: $workers" => sub {
			configure($node, 'meter.max_workers_per_database', $workers);
			create_stream('hostile', $hostile{$what});
			my $locker;
			if ($what =~ /locked/)
			{
				$locker = $node->background_psql('billing');
				$locker->query_safe('BEGIN; SELECT FROM hostile.total FOR UPDATE');
			}
			sql("SELECT meter.create_meter('hostile', '$_', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0')") foreach 'a' .. 'h';
			is_bounded(10, 'hostile');
			cmp_ok(sql("SELECT count(*) FROM meter.status WHERE stream = 'hostile' AND watermark >= @{[hour(10)]}"), '<', 8, 'the hostile one has not got there');
			if ($what =~ /swallows/)
			{
				like(log_text(), qr/terminating meter worker with PID \d+: stream "hostile" did not obey a cancel within "meter\.cancel_grace"/, 'its workers were terminated');
				ok(until_so("SELECT bool_or(last_error ~ 'terminated' AND retry_at > now()) FROM meter.status WHERE stream = 'hostile'"), 'which is a failure of its meters');
			}
			$locker->quit if $locker;
			drop_stream('hostile');
		};
	}
}

subtest 'a process that obeys no signal loses its place' => sub {
	configure($node, 'meter.max_workers_per_database', 1);
	my $asleep = "FROM pg_stat_activity WHERE backend_type = 'meter worker' AND query LIKE '%\"hostile\"%' AND wait_event = 'PgSleep'";
	create_stream('hostile', $hostile{'a trigger that swallows cancels'}, 'a');
	ok(until_so("SELECT count(*) = 1 $asleep AND clock_timestamp() > xact_start + interval '@{[ $timeout + 0.3 ]} s'"), 'a step has swallowed its cancel');
	my $pid = sql("SELECT pid $asleep");
	kill 'STOP', $pid;
	ok(until_so("SELECT count(*) = 1 FROM meter.worker_status WHERE state = 'stuck' AND number IS NULL AND pid = $pid"), 'its process does not end: meter.worker_status says so');
	is_bounded(5, 'nobody');
	like(log_text(), qr/meter worker with PID $pid obeys no signal/, 'the log, too');
	is(sql("SELECT count(*) FROM meter.worker_status WHERE pid = $pid"), '1', 'all that while it is there');
	kill 'CONT', $pid;
	ok(until_so("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'it ends as soon as it obeys');
	ok(until_so("SELECT count(*) = 0 FROM meter.worker_status WHERE state = 'stuck'"), 'and is shown no more');
	drop_stream('hostile');
};

subtest 'a person who cancels is obeyed, too' => sub {
	configure($node, 'meter.step_timeout', 0);
	my $asleep = "FROM pg_stat_activity WHERE backend_type = 'meter worker' AND query LIKE '%\"hostile\"%' AND wait_event = 'PgSleep'";
	create_stream('hostile', $hostile{'a trigger that swallows cancels'}, 'a');
	ok(until_so("SELECT count(*) = 1 $asleep"), 'a step is asleep');
	my $pid = sql("SELECT pid $asleep");
	sql("SELECT pg_cancel_backend($pid)");
	ok(until_so("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'its process ends after the grace period');
	ok(until_so("SELECT last_error ~ 'terminated' FROM meter.status WHERE stream = 'hostile'"), 'and the meter says so');
	configure($node, 'meter.step_timeout', 1500);
	drop_stream('hostile');
};

subtest 'maintenance runs under the same clock' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE plain');
	$node->safe_psql('plain', <<'SQL');
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
INSERT INTO cloud.event ("time", resource, action) SELECT '2024-01-01 00:00Z', 'vm' || i, 'start' FROM generate_series(1, 300000) i;
SELECT meter.roll('cloud');
SQL
	configure($node, 'meter.step_timeout', 20);
	ok($node->poll_query_until('plain', "SELECT bool_or(last_error ~ 'meter.step_timeout') FROM meter.worker_status WHERE database = 'plain'"), 'sealing a segment is canceled');
	configure($node, 'meter.step_timeout', 600000);
	$node->safe_psql('plain', 'SELECT meter_internal.worker_wake()');
	ok($node->poll_query_until('plain', "SELECT bool_or(state = 'sealed') FROM meter.log_segments('cloud')"), 'and done once there is time');
	$node->safe_psql('postgres', 'DROP DATABASE plain');
};

subtest 'a lock of somebody stops nobody who advances all' => sub {
	configure($node, 'meter.enabled', 'off');
	until_so("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'meter worker'");
	create_stream('locked', undef, 'vm');
	$hours++;
	sql("INSERT INTO healthy.event (\"time\", resource, action) VALUES (@{[hour($hours)]}, 'clock', 'tick')");
	my $locker = $node->background_psql('billing');
	$locker->query_safe("BEGIN; SELECT FROM meter.advance('locked', 'vm')");
	is(sql("SET statement_timeout = '60s'; SELECT stream, meter FROM meter.advance()"), 'healthy|vm', 'a meter that is locked is passed over');
	sql("SET statement_timeout = '60s'; CALL meter.run()");
	my ($status, $stdout, $stderr) = $node->psql('billing', "SET statement_timeout = '1s'; SELECT FROM meter.advance('locked', 'vm')");
	like($stderr, qr/statement timeout/, 'one that was named is waited for');
	$locker->query_safe('ROLLBACK');

	$hours++;
	sql("INSERT INTO healthy.event (\"time\", resource, action) VALUES (@{[hour($hours)]}, 'clock', 'tick')");
	$locker->query_safe('BEGIN; LOCK TABLE locked.usage');
	is(sql("SET client_min_messages = error; SET statement_timeout = '60s'; SELECT stream FROM meter.advance() WHERE usage_rows > 0"), 'healthy', 'nor is a table waited for without end');
	like(sql("SELECT last_error FROM meter.status WHERE stream = 'locked'"), qr/lock timeout/, 'that is a failure of its own meter');
	$locker->query_safe('ROLLBACK');
	$locker->quit;
	is(sql("SELECT sum(usage_rows) FROM meter.advance('locked')"), '50', 'which goes on afterwards');
	is(sql("SELECT count(*) FROM meter.verify('locked')"), '0', 'and is right');
	configure($node, 'meter.enabled', 'on');
};

subtest 'a schema that is dropped frees its name at the next turn' => sub {
	sql('DROP SCHEMA locked CASCADE');
	ok(until_so("SELECT count(*) = 0 FROM meter.stream WHERE name = 'locked'"), 'the stream is forgotten');
	is(sql("SELECT (SELECT count(*) FROM meter.meter WHERE stream = 'locked') + (SELECT count(*) FROM meter.log_progress WHERE stream = 'locked')"), '0', 'with its meters');
	like(log_text(), qr/LOG:  stream "locked" was forgotten: its schema was dropped/, 'and the log says so');
};

is(sql("SELECT count(*), min(watermark) = @{[hour($hours)]} FROM meter.status"), '1|t', 'the healthy stream is settled');
is(sql('SELECT count(*) FROM meter.status WHERE last_error IS NOT NULL'), '0', 'without a failure');
is(sql("SELECT count(*) FROM meter.verify('healthy')"), '0', 'and its ledger is right');

subtest 'a server without room for workers' => sub {
	$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
	$node->restart;
	my $state = "SELECT state FROM meter.worker_status WHERE process = 'launcher'";
	ok(until_so("SELECT ($state) = 'no room'"), 'meter.worker_status says so');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
	$node->restart;
	ok(until_so("SELECT count(*) > 0 FROM meter.worker_status WHERE turns > 0"), 'until there is some');
	is(sql($state), 'running', 'then it says that it runs');
};

unlike(log_text(), qr/PANIC|TRAP|deadlock detected|signal 11/, 'the log has nothing that it should not have');
$node->stop;
done_testing();
