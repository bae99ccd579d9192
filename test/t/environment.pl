# Promise: where disk, memory or time does not suffice for a step, the meter goes on in smaller steps, down to one period, and in whole
# ones again once it does. Nothing is lost or doubled meanwhile, and no temporary file is left.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.enabled = off
meter.naptime = 1s
autovacuum = off
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;

# A database with a meter of hours, and runs of 30 minutes in each of them that are not settled yet; the rows are as wide as asked for.
sub create_database
{
	my ($name, $hours, $resources, $width) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, <<"SQL");
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', since => '2024-01-01Z');
INSERT INTO cloud.event ("time", resource, action, account)
SELECT '2024-01-01Z'::timestamptz + h * interval '1 hour' + minute * interval '1 minute', 'vm' || r, action, repeat('a', $width)
FROM generate_series(0, $hours - 1) h, generate_series(1, $resources) r, (VALUES ('start', 10), ('stop', 40)) e (action, minute)
UNION ALL
SELECT '2024-01-01Z'::timestamptz + $hours * interval '1 hour', 'clock', 'tick', NULL;
SQL
	return;
}

sub meter_is
{
	my ($database) = @_;
	return $node->safe_psql($database, 'SELECT halvings, failures FROM meter.meter');
}

# Is the ledger the one of all hours, each row there once, and does verify agree?
sub ledger_is
{
	my ($database, $hours, $resources) = @_;
	my $rows = $hours * $resources;
	is( $node->safe_psql($database,
			q{SELECT count(*), count(DISTINCT (resource, period_start)), sum(quantity), max(revision), (SELECT count(*) FROM meter.verify('cloud')) FROM cloud.usage}),
		join('|', $rows, $rows, 30 * $rows, 0, 0),
		'the ledger is right');
	return;
}

sub configure
{
	my (@settings) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $_") foreach @settings;
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# Waits for the worker, which may try again at once, whatever failed.
sub worker_gets
{
	my ($database, $condition) = @_;
	$node->safe_psql($database, 'SELECT meter_internal.worker_wake()');
	return $node->poll_query_until($database, <<"SQL");
WITH again AS (UPDATE meter.meter SET retry_at = NULL WHERE retry_at > now() AND NOT ($condition) RETURNING meter_internal.worker_wake())
SELECT ($condition) AND (SELECT count(*) FROM again) = 0 FROM meter.meter
SQL
}

# Makes steps of a meter, in a database whose temporary files have little room, up to the end of its log. Returns how often its size was
# halved at most, and how many steps failed.
sub settle_in_little_room
{
	my ($database) = @_;
	my ($halvings, $failed) = (0, 0);
	foreach (1 .. 100)
	{
		# in one transaction: a step that fails leaves no file for its end
		my ($status, $out, $err) = $node->psql($database, <<'SQL');
\set SHOW_CONTEXT always
BEGIN;
SELECT FROM meter.advance();
SELECT halvings, failures, watermark = (SELECT max("time") FROM cloud.event), (SELECT count(*) FROM pg_ls_tmpdir()) FROM meter.meter;
COMMIT;
SQL
		my ($now, $failures, $over, $files) = split /\|/, (grep { /\|/ } split /\n/, $out)[0];
		is($files, 0, 'no temporary file is left') if $failures;
		like($err, qr/could not be advanced: temporary file size exceeds temp_file_limit/, 'the room was too little') if $failures && !$failed;
		unlike($err, qr/SELECT|INSERT/, 'no statement of the engine is quoted') if $failures && !$failed;
		like($err, qr/CONTEXT:  settling meter "vm" of stream "cloud" up to 2024/, 'but what the step was doing is said') if $failures && !$failed;
		$failed++ if $failures;
		$halvings = $now if $now > $halvings;
		return ($halvings, $failed) if $over eq 't';
	}
	fail('the meter comes to the end');
	return ($halvings, $failed);
}

foreach my $way ([ 'blocks', 24, 3_500, 600, '30MB' ], [ 'statements', 24, 3_500, 600, '30MB' ])
{
	my ($database, $hours, $resources, $width, $room) = @$way;
	subtest "little room on disk, rows written in $database" => sub {
		create_database($database, $hours, $resources, $width);
		$node->safe_psql($database, <<"SQL") if $database eq 'statements';
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN RETURN NULL; END\$\$;
CREATE TRIGGER look AFTER INSERT ON cloud.usage REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION look();
SQL
		$node->safe_psql($database, "ALTER DATABASE $database SET temp_file_limit = '$room'");
		my ($halvings, $failed) = settle_in_little_room($database);
		cmp_ok($halvings, '>', 0, "steps were halved up to $halvings times, after $failed failures");
		$node->safe_psql($database, "ALTER DATABASE $database RESET temp_file_limit");
		ledger_is($database, $hours, $resources);
		$node->safe_psql($database, 'SELECT FROM meter.advance()') foreach 1 .. $halvings;
		is(meter_is($database), '0|0', 'and steps are whole again, though there is nothing to do');
	};
}

subtest 'little time for a step' => sub {
	create_database('slow', 96, 20, 10);
	# a millisecond a row: 2 s for all, of which a step gets half of one
	$node->safe_psql('slow', <<'SQL');
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep((SELECT count(*) FROM new) * 0.001); RETURN NULL; END$$;
CREATE TRIGGER sleep AFTER INSERT ON cloud.usage REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION sleep();
SQL
	configure("meter.step_timeout = '500ms'", 'meter.batch_rows = 8000', 'meter.enabled = on');
	ok(worker_gets('slow', 'halvings >= 2'), 'steps that take too long are halved');
	ok(worker_gets('slow', q(watermark = '2024-01-05Z')), 'until they take less');
	ok(worker_gets('slow', 'halvings = 0 AND failures = 0'), 'after which they are whole again');
	ledger_is('slow', 96, 20);
	my $log = slurp_file($node->logfile);
	like($log, qr/could not be advanced: canceled, since it took longer than "meter.step_timeout"/, 'the log says that it was the limit');
	like($log, qr/CONTEXT: .*\n?.*settling meter "vm" of stream "cloud" up to 2024/, 'and in which stage');
};

subtest 'little time for a period' => sub {
	configure('meter.enabled = off');
	my $before = -s $node->logfile;
	create_database('slower', 5, 20, 10);
	$node->safe_psql('slower', <<'SQL');
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END$$;
CREATE TRIGGER sleep AFTER INSERT ON cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION sleep();
SQL
	configure("meter.step_timeout = '300ms'", 'meter.batch_rows = 4', 'meter.enabled = on');
	ok(worker_gets('slower', q(watermark = '2024-01-01 05:00Z')), 'a period is settled however long that takes');
	is($node->safe_psql('slower', 'SELECT max(settlement) FROM cloud.usage'), 5, 'one a step');
	my $expired = () = substr(slurp_file($node->logfile), $before) =~ /could not be advanced: canceled/g;
	is($expired, 2, 'of 4 rows and of 2 in vain: after a step that took too long none is larger');
	$node->safe_psql('slower', 'DROP TRIGGER sleep ON cloud.usage');
	ok(worker_gets('slower', 'halvings = 0 AND failures = 0'), 'steps are whole again once they take less');
	ledger_is('slower', 5, 20);
};

done_testing();
