# Promise: usage is settled in the background without any call, whatever happens to the worker, and the worker is in
# nobody's way.
#
# A stream "cloud" has runs of 15 minutes in each hour of some resources, and clock 'event': so what must stand in its
# ledger in the end follows from the hours that were logged, and an instant when nothing more is due can be waited for.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest qw(poll_through_crash);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $resources = 20;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.naptime = 1s
max_prepared_transactions = 2
restart_after_crash = on
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;

# SQL for the instant some hours after the beginning.
sub hour
{
	my ($hours) = @_;
	return "(timestamptz '2024-01-01 00:00:00Z' + $hours * interval '1 hour')";
}

sub create_meter
{
	my ($name) = @_;
	return "SELECT meter.create_meter('cloud', '$name', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0')";
}

# SQL that logs the hours [from, to), and last an event that closes them.
sub events
{
	my ($from, $to) = @_;
	return <<"SQL";
INSERT INTO cloud.event ("time", resource, action, account, offering)
SELECT h + minute * interval '1 minute', 'vm' || r, action, 'account' || r % 3, 'small'
FROM generate_series(@{[hour($from)]}, @{[hour($to)]} - interval '1 hour', interval '1 hour') h,
	generate_series(1, $resources) r, (VALUES ('start', 10), ('stop', 25)) e (action, minute)
UNION ALL
SELECT @{[hour($to)]}, 'clock', 'tick', NULL, NULL;
SQL
}

# Makes a database in which hours are logged already when its meters are made.
sub create_database
{
	my ($node, $name, $hours, @meters) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, join(";\n", 'CREATE EXTENSION meter', "SELECT meter.create_stream('cloud')", events(0, $hours),
			map { create_meter($_) } @meters));
	return;
}

# Makes steps so small that a backlog lasts for a while, or so large that it is soon over.
sub step_rows
{
	my ($rows) = @_;
	configure($node, "meter.batch_rows = $rows");
	return;
}

# Waits until a meter has settled some hours.
sub wait_settled
{
	my ($node, $database, $hours, $meter) = @_;
	$meter //= 'vm';
	return $node->poll_query_until($database, "SELECT watermark = @{[hour($hours)]} FROM meter.status WHERE meter = '$meter'");
}

# Is the ledger of a meter the one of that many hours, each row there once, and does verify agree?
sub ledger_is
{
	my ($node, $database, $hours, $what, $meter) = @_;
	$meter //= 'vm';
	my $rows = $hours * $resources;
	is( $node->safe_psql($database, <<"SQL"),
SELECT count(*), count(DISTINCT (resource, period_start)), sum(quantity), max(revision),
	(SELECT count(*) FROM meter.verify('cloud', '$meter'))
FROM cloud.usage WHERE meter = '$meter'
SQL
		join('|', $rows, $rows, 15 * $rows, 0, 0), $what);
	return;
}

# Waits for the state of one of a database's workers, or what else its status says.
sub wait_worker
{
	my ($node, $database, $condition) = @_;
	return $node->poll_query_until('postgres',
		"SELECT bool_or($condition) FROM meter_internal.worker_processes() p JOIN pg_database d ON d.oid = p.database WHERE d.datname = '$database'");
}

sub wait_launcher
{
	my ($node, $state) = @_;
	return $node->poll_query_until('postgres', "SELECT state = '$state' FROM meter.worker_status WHERE process = 'launcher'");
}

sub configure
{
	my ($node, @settings) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $_") foreach @settings;
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# The process id of a worker that is in the middle of a backlog.
sub busy_worker
{
	my ($node, $database) = @_;
	wait_worker($node, $database, "state = 'running' AND steps >= 5");
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE datname = '$database' AND backend_type = 'meter worker'");
}

sub settled_hours
{
	my ($node, $database) = @_;
	return $node->safe_psql($database,
		"SELECT coalesce(extract(epoch FROM watermark - @{[hour(0)]}) / 3600, 0)::int FROM meter.status WHERE meter = 'vm'");
}

# Starts a server that was killed, as soon as what is left of it has gone.
sub restart_killed
{
	my ($node) = @_;
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	while (--$tries > 0 && !$node->start(fail_ok => 1))
	{
		select(undef, undef, undef, 0.1);
		$node->stop('immediate', fail_ok => 1);
	}
	return;
}

$node->safe_psql('postgres', 'CREATE EXTENSION meter');

subtest 'an extension made in a running server is settled without a call' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE late');
	ok(wait_worker($node, 'late', "result = 'no extension'"), 'the database was looked at before');
	$node->safe_psql('late', "CREATE EXTENSION meter; SELECT meter.create_stream('cloud'); " . create_meter('vm'));
	$node->safe_psql('late', events(0, 48));
	ok(wait_settled($node, 'late', 48), 'events that come after the meter are settled');
	ledger_is($node, 'late', 48, 'the ledger is right');
	$node->safe_psql('late', events(48, 72));
	ok(wait_settled($node, 'late', 72), 'later ones, too');
	ledger_is($node, 'late', 72, 'the ledger is right still');
};

subtest 'making a meter wakes the worker at commit' => sub {
	configure($node, "meter.naptime = '1h'");
	ok($node->poll_query_until('postgres', "SELECT setting = '3600' FROM pg_settings WHERE name = 'meter.naptime'"),
		'the pause between turns is an hour');
	create_database($node, 'woken', 24, 'vm');
	ok(wait_settled($node, 'woken', 24), 'the meter is settled at once');
	ledger_is($node, 'woken', 24, 'the ledger is right');

	ok(wait_worker($node, 'woken', "state = 'waiting' AND next_due > now()"), 'after which nothing is due');
	my $turns = $node->safe_psql('postgres', "SELECT turns FROM meter.worker_status WHERE database = 'woken' AND number = 1");
	$node->safe_psql('woken', 'BEGIN; ' . create_meter('other') . '; ROLLBACK');
	is($node->safe_psql('postgres', "SELECT turns, next_due > now() FROM meter.worker_status WHERE database = 'woken' AND number = 1"),
		"$turns|t", 'a rollback wakes nobody');

	# the turn that follows PREPARE comes too early, and is waited for; the naptime brings the next
	$node->safe_psql('woken', 'BEGIN; ' . create_meter('prepared') . "; PREPARE TRANSACTION 'p'");
	$node->safe_psql('woken', "COMMIT PREPARED 'p'");
	wait_worker($node, 'woken', "state = 'waiting' AND turns > $turns");
	configure($node, "meter.naptime = '1s'");
	ok(wait_settled($node, 'woken', 24, 'prepared'), 'a shorter naptime holds at once; a prepared meter is settled after it');
	ledger_is($node, 'woken', 24, 'the ledger is right', 'prepared');
};

subtest 'a naptime that is shortened during a turn holds after it' => sub {
	create_database($node, 'shortened', 24);
	$node->safe_psql('shortened', <<'SQL');
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(86400); RETURN NULL; END$$;
CREATE TRIGGER sleep BEFORE INSERT ON cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION sleep();
SQL
	configure($node, "meter.naptime = '1h'");
	$node->poll_query_until('postgres', "SELECT setting = '3600' FROM pg_settings WHERE name = 'meter.naptime'");
	$node->safe_psql('postgres', 'CREATE DATABASE quiet');
	$node->safe_psql('shortened', create_meter('vm'));
	ok(wait_worker($node, 'quiet', "result = 'no extension' AND next_due > now() + interval '50 minutes'"), 'nobody is expected elsewhere');
	my $sleeping = "datname = 'shortened' AND backend_type = 'meter worker' AND wait_event = 'PgSleep'";
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE $sleeping");

	# a worker that is told to end in the middle of a step does not read the new one
	configure($node, "meter.naptime = '1s'");
	$node->poll_query_until('postgres', "SELECT setting = '1' FROM pg_settings WHERE name = 'meter.naptime'");
	$node->safe_psql('shortened', 'CREATE OR REPLACE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$');
	is($node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE $sleeping"),
		't', 'the turn ends');
	ok(wait_settled($node, 'shortened', 24), 'the next one does not wait for an hour');
	ok(wait_worker($node, 'quiet', 'turns > 1'), 'nor where nothing was found');
	ledger_is($node, 'shortened', 24, 'the ledger is right');
	$node->safe_psql('postgres', "DROP DATABASE $_ WITH (FORCE)") foreach qw(shortened quiet);
};

subtest 'the worker is not in the way of DROP DATABASE and CREATE DATABASE TEMPLATE' => sub {
	step_rows(50);
	create_database($node, 'origin', 1500, 'vm');
	foreach my $i (1 .. 3)
	{
		busy_worker($node, 'origin');
		is($node->psql('postgres', "CREATE DATABASE copy$i TEMPLATE origin"), 0, "CREATE DATABASE copy$i TEMPLATE");
		is($node->safe_psql("copy$i", 'SELECT bool_or(active) FROM meter.status'), 'f', 'a copy is not settled before it is resumed');
		$node->safe_psql("copy$i", "SELECT meter.resume('cloud')");
		busy_worker($node, "copy$i");
		is($node->psql('postgres', "ALTER DATABASE copy$i RENAME TO other$i"), 0, "ALTER DATABASE copy$i RENAME");
		busy_worker($node, "other$i");
		is($node->psql('postgres', "DROP DATABASE other$i"), 0, "DROP DATABASE other$i") if $i < 3;
	}
	cmp_ok(settled_hours($node, 'origin'), '<', 1500, 'the worker had something to do all the time');
	step_rows(1_000_000);
	ok(wait_settled($node, $_, 1500), "$_ is settled") && ledger_is($node, $_, 1500, "the ledger of $_ is right")
	  foreach qw(origin other3);
	$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(origin other3);
	ok( $node->poll_query_until('postgres',
			'SELECT count(*) = 0 FROM meter_internal.worker_processes() WHERE database IS NOT NULL AND database NOT IN (SELECT oid FROM pg_database)'),
		'dropped databases are forgotten');
};

subtest 'DROP EXTENSION has a clear outcome while a worker runs' => sub {
	step_rows(50);
	create_database($node, 'dropped', 1000, 'vm', 'vm2');
	foreach my $i (1 .. 3)
	{
		busy_worker($node, 'dropped');
		is($node->psql('dropped', 'DROP EXTENSION meter CASCADE'), 0, 'the extension is dropped');
		ok(wait_worker($node, 'dropped', "result = 'no extension'"), 'the worker says so');
		$node->safe_psql('dropped', join('; ', 'CREATE EXTENSION meter', "SELECT meter.create_stream('cloud')",
				create_meter('vm'), create_meter('vm2')));
	}
	step_rows(1_000_000);
	ok(wait_settled($node, 'dropped', 1000, $_), "$_ is settled over the same tables") foreach qw(vm vm2);
	ledger_is($node, 'dropped', 1000, "the ledger of $_ is right", $_) foreach qw(vm vm2);
};

subtest 'a failing meter does not stop the others' => sub {
	create_database($node, 'failing', 24, 'bad', 'vm');
	wait_settled($node, 'failing', 24, $_) foreach qw(bad vm);
	$node->safe_psql('failing', "ALTER TABLE cloud.usage ADD CONSTRAINT none_of_it CHECK (meter <> 'bad' OR period_start < @{[hour(24)]})");
	$node->safe_psql('failing', events(24, 48));
	ok(wait_settled($node, 'failing', 48), 'the other meter is settled');
	ledger_is($node, 'failing', 48, 'its ledger is right');
	ok($node->poll_query_until('failing', "SELECT last_error ~ 'none_of_it' FROM meter.status WHERE meter = 'bad'"),
		'the failing one has its error');
	ok(wait_worker($node, 'failing', 'errors > 0'), 'and it is counted');
	$node->safe_psql('failing', 'ALTER TABLE cloud.usage DROP CONSTRAINT none_of_it');
	$node->safe_psql('failing', "SELECT meter.resume('cloud')");
	$node->safe_psql('failing', "UPDATE meter.meter SET retry_at = now()");
	ok(wait_settled($node, 'failing', 48, 'bad'), 'it goes on once the reason is gone');
	ledger_is($node, 'failing', 48, 'its ledger is right then', 'bad');
};

subtest 'a step that takes too long fails, and the others go on' => sub {
	create_database($node, 'slow', 24, 'sleepy', 'vm');
	wait_settled($node, 'slow', 24, $_) foreach qw(sleepy vm);
	configure($node, "meter.step_timeout = '300ms'");
	# the first in the order of names would keep the second waiting
	$node->safe_psql('slow', <<'SQL');
SELECT meter.drop_meter('cloud', 'sleepy');
SELECT meter.create_stream('asleep');
SELECT meter.create_meter('asleep', 'sleepy', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(86400); RETURN NULL; END$$;
CREATE TRIGGER sleep BEFORE INSERT ON asleep.usage FOR EACH STATEMENT EXECUTE FUNCTION sleep();
INSERT INTO asleep.event ("time", resource, account, action) VALUES ('2024-01-01 00:00Z', 'vm', 'a', 'start');
SQL
	$node->safe_psql('slow', events(24, 48));
	ok($node->poll_query_until('slow', "SELECT last_error ~ 'meter.step_timeout' AND retry_at > now() FROM meter.status WHERE meter = 'sleepy'"),
		'the meter that sleeps has its error');
	ok(wait_settled($node, 'slow', 48), 'the other one is settled');
	ledger_is($node, 'slow', 48, 'its ledger is right');
	configure($node, "meter.step_timeout = 0");
	$node->safe_psql('slow', 'UPDATE meter.meter SET retry_at = now(), failures = 0');
	$node->poll_query_until('slow', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'meter worker'");
	$node->safe_psql('slow', 'SELECT pg_sleep(1)');
	is($node->safe_psql('slow', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'meter worker'"), '1',
		'without a limit it sleeps on');
	$node->safe_psql('slow', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'meter worker'");
	ok(wait_worker($node, 'slow', "last_error ~ 'user request'"), 'a person can cancel it');
	is($node->safe_psql('slow', "SELECT failures FROM meter.status WHERE meter = 'sleepy'"), '0', 'which is no failure of the meter');
	$node->safe_psql('slow', 'DROP TRIGGER sleep ON asleep.usage');
	$node->safe_psql('slow', 'SELECT meter_internal.worker_wake()');
	ok($node->poll_query_until('slow', "SELECT watermark > '2024-01-02' AND last_error IS NULL FROM meter.status WHERE meter = 'sleepy'"),
		'it goes on once the reason is gone');
	configure($node, "meter.step_timeout = '10min'");
	$node->safe_psql('postgres', 'DROP DATABASE slow WITH (FORCE)');
};

subtest 'a heartbeat that closes a period wakes the worker' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE beating');
	$node->safe_psql('beating', "CREATE EXTENSION meter; SELECT meter.create_stream('cloud'); " . events(0, 24)
		. "; SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', clock => 'source', lateness => '0'); "
		. "SELECT meter.heartbeat('cloud', 'a', @{[hour(5)]})");
	ok(wait_settled($node, 'beating', 5), 'settled up to the clock of its source');
	configure($node, "meter.naptime = '1h'");
	$node->safe_psql('beating', 'SELECT meter_internal.worker_wake()');
	wait_worker($node, 'beating', "state = 'waiting' AND next_due > now() + interval '10 minutes'");
	my $turns = "SELECT p.turns FROM meter_internal.worker_processes() p JOIN pg_database d ON d.oid = p.database WHERE d.datname = 'beating' AND p.number = 1";
	my $before = $node->safe_psql('postgres', $turns);
	$node->safe_psql('beating', "SELECT meter.heartbeat('cloud', 'a', @{[hour(5)]} + interval '30 minutes')");
	$node->safe_psql('beating', "SELECT meter.heartbeat('cloud', 'a', @{[hour(24)]})");
	ok(wait_settled($node, 'beating', 24), 'settled without waiting for a nap to end');
	ledger_is($node, 'beating', 24, 'its ledger is right');
	is($node->safe_psql('postgres', $turns) - $before, 1, 'one that closes none wakes nobody');
	configure($node, "meter.naptime = '1s'");
};

subtest 'meter.enabled turns the worker off and on' => sub {
	step_rows(50);
	create_database($node, 'switched', 1000, 'vm');
	busy_worker($node, 'switched');
	configure($node, 'meter.enabled = off');
	ok(wait_launcher($node, 'paused'), 'the launcher says that it is paused');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'meter worker'"),
		'the worker ends in the middle of its backlog');
	my $hours = settled_hours($node, 'switched');
	cmp_ok($hours, '<', 1000, 'which is not settled then');
	$node->safe_psql('switched', 'SELECT meter_internal.worker_wake()');
	is($node->safe_psql('postgres', "SELECT state, next_due <= now() FROM meter.worker_status WHERE database = 'switched' AND number = 1"),
		'waiting|t', 'a wake starts nothing');
	is(settled_hours($node, 'switched'), $hours, 'and nothing is settled');
	configure($node, 'meter.enabled = on', 'meter.batch_rows = 1000000');
	ok(wait_settled($node, 'switched', 1000), 'the rest is settled afterwards');
	ledger_is($node, 'switched', 1000, 'the ledger is right');
};

subtest 'a worker or the launcher that is killed or told to end' => sub {
	step_rows(50);
	create_database($node, 'killed', 1500, 'vm');
	foreach my $i (1 .. 3)
	{
		my $pid = busy_worker($node, 'killed');
		is(kill('KILL', $pid), 1, 'SIGKILL reaches the worker');
		ok(poll_through_crash($node, "SELECT pg_postmaster_start_time() IS NOT NULL"), 'the server recovers');
		wait_launcher($node, 'running');
		cmp_ok(settled_hours($node, 'killed'), '<', 1500, 'in the middle of the backlog');
	}
	busy_worker($node, 'killed');
	$node->kill9;
	restart_killed($node);
	cmp_ok(settled_hours($node, 'killed'), '<', 1500, 'SIGKILL of the server in the middle of the backlog');

	my $pid = busy_worker($node, 'killed');
	is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)"), 't', 'the worker ends when it is told to');
	$pid = $node->safe_psql('postgres', "SELECT pid FROM meter.worker_status WHERE process = 'launcher'");
	is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)"), 't', 'so does the launcher');
	ok(wait_launcher($node, 'running'), 'which comes back');

	step_rows(1_000_000);
	ok(wait_settled($node, 'killed', 1500), 'all is settled in the end');
	ledger_is($node, 'killed', 1500, 'every usage row is there once');
};

subtest 'a standby does not settle; promoted, it takes up' => sub {
	create_database($node, 'promoted', 24, 'vm');
	wait_settled($node, 'promoted', 24);
	$node->backup('copy');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'copy', has_streaming => 1);
	$standby->start;
	is($standby->safe_psql('promoted', "SELECT process, state FROM meter.worker_status"),
		'launcher|waiting for promotion', 'the standby has no launcher');

	configure($node, 'meter.enabled = off');
	wait_launcher($node, 'paused');
	$node->safe_psql('promoted', events(24, 48));
	$node->wait_for_catchup('standby');
	is(settled_hours($standby, 'promoted'), 24, 'events that are only replicated are not settled');
	$node->stop('fast');
	$standby->promote;
	configure($standby, 'meter.enabled = on');
	ok(wait_settled($standby, 'promoted', 48), 'they are after the promotion');
	ledger_is($standby, 'promoted', 48, 'the ledger is right');
	$standby->stop;
	$node->start;
	configure($node, 'meter.enabled = on');
	ok(wait_settled($node, 'promoted', 48), 'the old primary settles what it has');
	ledger_is($node, 'promoted', 48, 'its ledger is right');
};

subtest 'what the worker shows' => sub {
	$node->safe_psql('failing', 'CREATE ROLE reader; GRANT pg_read_all_stats TO reader; CREATE ROLE other');
	$node->safe_psql('failing', 'ALTER TABLE meter.active_stream RENAME TO hidden');
	ok(wait_worker($node, 'failing', "result = 'failed' AND last_error ~ 'active_stream'"), 'a turn that fails says why');
	my $error = "SELECT last_error FROM meter.worker_status WHERE database = 'failing' AND last_error ~ 'active_stream|privilege' LIMIT 1";
	like($node->safe_psql('postgres', "SET ROLE reader; $error"), qr/active_stream/, 'to those who may read it');
	is($node->safe_psql('failing', "SET ROLE other; $error"), '<insufficient privilege>', 'and to no others');
	is($node->safe_psql('postgres', "SET ROLE other; SELECT count(*) FROM meter.worker_status WHERE database = 'failing'"), '0', 'who see nothing of other databases');
	isnt($node->psql('postgres', 'SET ROLE other; SELECT meter_internal.worker_wake()'), 0, 'who may not wake it either');
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|deadlock|signal 11/, 'the log has nothing that it should not have');
};

subtest 'a library that is not preloaded' => sub {
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->restart;
	is($node->safe_psql('postgres', 'SELECT meter_internal.worker_wake(); SELECT process, state FROM meter.worker_status'),
		"\nlauncher|not preloaded", 'has no launcher, and says so');
	is( $node->safe_psql('postgres', "LOAD 'meter'; SHOW meter.naptime; SHOW meter.enabled; SHOW meter.max_workers; SHOW meter.max_workers_per_database"),
		"1s\non\n3\n2", 'its settings are there');
	$node->safe_psql('late', events(72, 96));
	$node->safe_psql('late', "CALL meter.run('cloud')");
	ledger_is($node, 'late', 96, 'and a call settles');
};

done_testing();
