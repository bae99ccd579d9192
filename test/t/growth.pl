# Promise: neither a session that settles for a year nor the launcher grows: what a turn or a settle allocates goes with it.
#
# METER_IDLE is how many turns with nothing to do one session makes, METER_SETTLES how many hours it settles, METER_WAKES how many
# workers the launcher starts; make soak takes 100,000, 1,000 and 2,000. What caches take is there after a warm-up of the same kind.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no /proc that tells what memory a process has' if !-e '/proc/self/status';

my $idle = $ENV{METER_IDLE} || 400;
my $settles = $ENV{METER_SETTLES} || 60;
my $wakes = $ENV{METER_WAKES} || 20;

my $node = PostgreSQL::Test::Cluster->new('growth');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.enabled = off
meter.naptime = 1h
autovacuum = off
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SET meter.now = '2024-03-01 00:00Z';
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', since => '2024-03-01 00:00Z', lateness => '0');
SELECT meter.create_meter('cloud', 'level', aggregate => 'latest', since => '2024-03-01 00:00Z', lateness => '0');
INSERT INTO cloud.event ("time", resource, account, action) SELECT '2024-03-01 00:00Z', 'vm-' || r, 'a', 'start' FROM generate_series(1, 20) r;
SQL

# What the session has: kB of its memory contexts, and of the process.
sub measure
{
	my ($name) = @_;
	return <<"SQL";
SELECT '$name', sum(total_bytes) / 1024, (SELECT (regexp_match(pg_read_file('/proc/self/status'), 'RssAnon:\\s+(\\d+)'))[1]) FROM pg_backend_memory_contexts;
SQL
}

# Idle turns; and settles of an hour each, with events, a late one and measures among them.
sub turns { return "CALL meter.run('cloud');\n" x $_[0]; }

my $hour = 0;

sub hours
{
	my ($count) = @_;
	my $script = '';
	foreach (1 .. $count)
	{
		$hour++;
		my $now = "'2024-03-01 00:00Z'::timestamptz + $hour * interval '1 hour'";
		$script .= <<"SQL";
INSERT INTO cloud.event ("time", resource, account, action) VALUES ($now - interval '50 minutes', 'vm-1', 'a', 'stop'), ($now - interval '40 minutes', 'vm-1', 'a', 'start'),
	($now - interval '65 minutes', 'late-' || $hour % 7, 'a', 'start'), ($now - interval '64 minutes', 'late-' || $hour % 7, 'a', 'stop');
INSERT INTO cloud.measure (start_time, end_time, resource, account, value) SELECT $now - interval '30 minutes', $now - interval '30 minutes', 'disk-' || r, 'a', $hour FROM generate_series(1, 5) r;
SELECT set_config('meter.now', ($now)::text, false) IS NULL;
CALL meter.run('cloud');
SQL
	}
	return $script;
}

# What a part of the session took, in kB: of contexts, and of the process.
sub part
{
	my ($warm, $all) = @_;
	my $file = $node->basedir . '/script.sql';
	unlink $file;
	append_to_file($file, "SET client_min_messages = warning;\nSELECT set_config('meter.now', ('2024-03-01 00:00Z'::timestamptz + $hour * interval '1 hour')::text, false) IS NULL;\n"
		  . $warm->() . measure('before') . $all->() . measure('after'));
	my ($out, $err) = run_command([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $node->connstr('postgres') ]);
	is($err, '', 'the session has no error');
	my %kB = map { /^(before|after)\|([\d.]+)\|(\d+)$/ ? ($1 => [ $2, $3 ]) : () } split /\n/, $out;
	return map { $kB{after}[$_] - $kB{before}[$_] } 0, 1;
}

my ($contexts, $process) = part(sub { hours(4) . turns(50) }, sub { turns($idle) });
diag(sprintf('%d idle turns of one session: %+d kB of memory contexts, %+d kB of the process', $idle, $contexts, $process));
cmp_ok($contexts, '<', 64, 'idle turns: no memory is kept');
cmp_ok($process, '<', 1024, 'idle turns: the process does not grow');

($contexts, $process) = part(sub { hours(30) }, sub { hours($settles) });
diag(sprintf('%d settles of one session: %+d kB of memory contexts, %+d kB of the process', $settles, $contexts, $process));
# each day has its files of state, each month its partitions, which the caches get to know
cmp_ok($contexts, '<', 512, 'settles: no memory is kept');
cmp_ok($process, '<', 4096, 'settles: the process does not grow');
is($node->safe_psql('postgres', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');

# --- the launcher -------------------------------------------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER SYSTEM SET meter.enabled = on');
$node->reload;
my $turns = "(SELECT turns FROM meter.worker_status WHERE database = 'postgres' AND number = 1 AND state = 'waiting')";
$node->poll_query_until('postgres', "SELECT $turns > 0");
my $launcher = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'meter launcher'");

# Wakes it so often, each time after the turn before.
sub wake
{
	my ($count) = @_;
	$node->safe_psql('postgres', <<"SQL");
DO \$\$
DECLARE
	before bigint;
BEGIN
	FOR i IN 1 .. $count LOOP
		before := $turns;
		PERFORM meter_internal.worker_wake();
		COMMIT;
		WHILE $turns IS NOT DISTINCT FROM before OR $turns IS NULL LOOP
			PERFORM pg_sleep(0.005);
		END LOOP;
	END LOOP;
END\$\$;
SQL
	slurp_file("/proc/$launcher/status") =~ /RssAnon:\s+(\d+)/;
	return $1;
}

my $before = wake(5);
my $after = wake($wakes);
diag(sprintf('%d turns of the launcher: %+d kB of the process', $wakes, $after - $before));
cmp_ok($after - $before, '<', 256, 'the launcher does not grow');

done_testing();
