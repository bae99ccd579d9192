# Promise: a session sees in meter.progress how far the long operations of others are, and only while they run.
#
# Each operation is held still by a lock, or by a trigger that waits, so that nothing depends on speed.
use strict;
use warnings;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('progress');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.enabled = off
timezone = 'UTC'
autovacuum = off
CONF
$node->start;

# A wait that no lock_timeout ends: until nobody holds the key.
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
CREATE ROLE owner LOGIN;
GRANT CREATE ON DATABASE postgres TO owner;
ALTER ROLE owner SET meter.now = '2024-03-05 02:00Z';
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE stranger LOGIN;
CREATE DATABASE other;
CREATE FUNCTION wait() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND granted) LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
CREATE FUNCTION wait_in_trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.wait(); RETURN NULL; END$$;
CREATE FUNCTION wait_in_command() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.wait(); END$$;
CREATE EVENT TRIGGER wait_in_command ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION wait_in_command();
SET ROLE owner;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', since => '2024-03-05 00:00Z', max_lateness => '1 day');
INSERT INTO cloud.event ("time", resource, account, action)
SELECT '2024-03-05 00:10Z'::timestamptz + ((i % 2) * 20) * interval '1 minute', 'vm-' || i / 2, 'geneva-jug', CASE i % 2 WHEN 0 THEN 'start' ELSE 'stop' END
FROM generate_series(0, 9999) AS i;
CREATE TRIGGER wait AFTER INSERT ON cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION public.wait_in_trigger();
CREATE TRIGGER wait AFTER INSERT ON cloud._expired FOR EACH STATEMENT EXECUTE FUNCTION public.wait_in_trigger();
SQL

my $holder = $node->background_psql('postgres', on_error_die => 1);

sub operation
{
	my ($role, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT operation, stream, meter, phase, done, total, database, started_at <= phase_started_at AND phase_started_at <= clock_timestamp(), pid = ANY (SELECT pid FROM pg_stat_activity) FROM meter.progress",
		extra_params => [ '-U', $role // 'owner' ]);
}

# held NAME, HOLD, SQL, PHASE, LOOK: SQL runs in a session of the owner while HOLD holds it; what others then see.
sub held
{
	my ($name, $hold, $sql, $phase, $seen, $look) = @_;
	my $error = '';

	$holder->query_safe("BEGIN; $hold");
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-U', 'owner', '-d', $node->connstr('postgres'), '-c', $sql ], '<', \undef, '>', \my $out, '2>', \$error);
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM meter.progress WHERE phase = '$phase')"), "$name: is seen at it");
	like(operation(), $seen, "$name: how far it is");
	$look->() if $look;
	$holder->query_safe('ROLLBACK; SELECT pg_advisory_unlock_all()');
	$run->finish;
	is($error, '', "$name: goes on");
	is(operation(), '', "$name: and is seen no more");
}

my $key = 'SELECT pg_advisory_lock(7)';

held('preview', 'LOCK cloud.event', "SELECT usage_rows FROM meter.preview_meter('cloud', 'other', starts => '{start}', stops => '{stop}', since => '2024-03-05 00:00Z')",
	'scanning the logs', qr/^preview\|cloud\|other\|scanning the logs\|0\|\|postgres\|t\|t$/);
held('step', $key, "SELECT usage_rows FROM meter.advance('cloud')",
	'walking resources', qr/^step\|cloud\|vm\|walking resources\|\d+\|10000\|postgres\|t\|t$/,
	sub
	{
		my $done = (split /\|/, operation())[4];
		is($done % 4096, 0, 'step: told each 4,096 rows');
	});
held('verify', 'LOCK cloud.usage', "SELECT * FROM meter.verify('cloud')", 'reading the ledger', qr/^verify\|cloud\|vm\|reading the ledger\|0\|\|postgres\|t\|t$/,
	sub
	{
		like(operation('watcher'), qr/^verify\|cloud\|vm\|/, 'a member of pg_monitor sees it');
		is(operation('stranger'), '', 'a stranger does not');
		is($node->safe_psql('postgres', 'SELECT count(*) FROM meter_internal.operations()', extra_params => [ '-U', 'stranger' ]), '0', 'not by the function under it either');
		$node->safe_psql('other', 'CREATE EXTENSION meter');
		like(operation('watcher', 'other'), qr/^verify\|cloud\|vm\|.*\|postgres\|/, 'nor in another database, but a member of pg_monitor does');
		is(operation('owner', 'other'), '', 'the owner does not: streams there are others');
	});
held('resettle', 'LOCK cloud.event', "SELECT meter.resettle('cloud', 'vm', NULL)", 'initializing', qr/^resettle\|cloud\|vm\|initializing\|0\|\|postgres\|t\|t$/);

# A segment that is old enough.
$node->safe_psql('postgres', "SELECT meter.roll('cloud')", extra_params => [ '-U', 'owner' ]);
held('seal', $key, "SELECT meter_internal.maintain_step('cloud'); SELECT meter_internal.maintain_step('cloud'); SELECT meter_internal.maintain_step('cloud'); SELECT meter_internal.maintain_step('cloud')",
	'building indexes', qr/^seal\|cloud\|\|building indexes\|0\|\|postgres\|t\|t$/);
$node->safe_psql('postgres', "SET meter.now = '2024-03-15 00:00Z'; CALL meter.run('cloud')", extra_params => [ '-U', 'postgres' ]);
$node->safe_psql('postgres', 'ALTER ROLE owner RESET meter.now');
held('expire', $key, "SELECT meter.expire('cloud', '2024-03-08 00:00Z')", 'dropping segments', qr/^expire\|cloud\|\|dropping segments\|0\|1\|postgres\|t\|t$/);

# An operation that fails, in a transaction that goes on, is seen no more; nor is one whose session is ended.
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe(<<'SQL');
CREATE FUNCTION cloud.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON cloud.usage FOR EACH ROW EXECUTE FUNCTION cloud.refuse();
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-14 00:10Z', 'vm-1', 'geneva-jug', 'start');
BEGIN;
SET LOCAL client_min_messages = error;
SET LOCAL meter.now = '2024-03-15 01:00Z';
SELECT FROM meter.advance('cloud');
SQL
is($node->safe_psql('postgres', "SELECT failures FROM meter.status"), '0', 'a step fails within a transaction');
is(operation('watcher'), '', 'and is seen no more');
$session->query_safe('COMMIT; DROP TRIGGER refuse ON cloud.usage');
$session->quit;
$holder->query_safe('BEGIN; LOCK cloud.event');
my $victim = IPC::Run::start([ 'psql', '-XAtq', '-U', 'owner', '-d', $node->connstr('postgres'), '-c', "SELECT * FROM meter.verify('cloud')" ], '<', \undef, '>', \my $out, '2>', \my $error);
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM meter.progress"), 'an operation');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM meter.progress');
$victim->finish;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM meter.progress"), 'that is terminated is seen no more');
$holder->quit;

# Without the library preloaded there is nothing to see, and nothing fails.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is($node->safe_psql('postgres', "SELECT count(*) FROM meter.verify('cloud'), meter.progress"), '0', 'not preloaded: empty');

$node->stop;
done_testing();
