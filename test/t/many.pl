# Promise: a server with many databases, streams and meters is looked after like one with few: its launcher finds them all, each meter
# is settled, and at rest they take no connection, no line of the log and no more memory than a few do.
#
# A template database with some streams is copied, so each copy has the same to settle. METER_DATABASES=200 is the full size: 1,000
# streams and 10,000 meters, and a rest of two naptimes whose cost is printed. METER_STREAMS and METER_METERS are those of a
# database and of a stream.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

my $full = defined $ENV{METER_DATABASES};
my $databases = $ENV{METER_DATABASES} // 12;
my $streams = $ENV{METER_STREAMS} // ($full ? 5 : 2);
my $meters = $ENV{METER_METERS} // ($full ? 10 : 3);
my $naptime = $full ? 60 : 2;
my $rows = $databases * $streams * $meters;

my $node = PostgreSQL::Test::Cluster->new('many');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'meter'
meter.enabled = off
meter.naptime = ${naptime}s
log_checkpoints = off
log_statement = none
log_connections = off
log_disconnections = off
fsync = off
jit = off
# it starts a process for each database in turn, whose time would be counted with that of the workers
autovacuum = off
timezone = 'UTC'
CONF
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub database { return sprintf('shop%03d', $_[0]); }

# What /proc says of a process: a number of its status, in kB.
sub kilobytes
{
	my ($pid, $name) = @_;
	open(my $file, '<', "/proc/$pid/status") or return 0;
	my ($value) = map { /^$name:\s+(\d+)/ ? $1 : () } <$file>;
	close $file;
	return $value // 0;
}

# Seconds of processor time: of a process, and of its children that have ended.
sub seconds
{
	my ($pid) = @_;
	my ($of) = slurp_file("/proc/$pid/stat") =~ /\) (.*)/s or return (0, 0);
	my @field = split / /, $of;
	my $tick = POSIX::sysconf(&POSIX::_SC_CLK_TCK);
	return (($field[11] + $field[12]) / $tick, ($field[13] + $field[14]) / $tick);
}

# The workers that run, as the system knows them.
sub workers
{
	my ($postmaster) = @_;
	my @children = split / /, slurp_file("/proc/$postmaster/task/$postmaster/children");
	return grep { -e "/proc/$_/cmdline" && (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /meter worker/ } @children;
}

sub log_lines { my @lines = split /\n/, slurp_file($node->logfile); return @lines; }

sql('CREATE EXTENSION meter');
sql('CREATE DATABASE shop000');
$node->safe_psql('shop000', <<"SQL");
CREATE EXTENSION meter;
DO \$\$BEGIN
	FOR s IN 1 .. $streams LOOP
		PERFORM meter.create_stream('cloud' || s);
		EXECUTE format('INSERT INTO %I.event ("time", resource, action, account) VALUES
			(''2024-01-01 00:10Z'', ''vm'', ''start'', ''a''), (''2024-01-01 00:25Z'', ''vm'', ''stop'', NULL), (''2024-01-01 01:00Z'', ''clock'', ''tick'', NULL)', 'cloud' || s);
		FOR m IN 1 .. $meters LOOP
			PERFORM meter.create_meter('cloud' || s, 'vm' || m, starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => NULL);
		END LOOP;
	END LOOP;
END\$\$;
SQL
foreach my $i (1 .. $databases - 1)
{
	sql('CREATE DATABASE ' . database($i) . ' TEMPLATE shop000');
	$node->safe_psql(database($i), 'SELECT meter.resume(name) FROM meter.stream');
}
sql("ALTER SYSTEM SET meter.enabled = on");
$node->stop;

my $began = time;
$node->start;
ok($node->poll_query_until('postgres', "SELECT sum(usage_rows) = $rows FROM meter_internal.worker_processes()"), 'each meter is settled')
  or diag(sql('SELECT count(*), sum(turns), sum(steps), sum(usage_rows), sum(errors) FROM meter_internal.worker_processes()'));
my $found = time - $began;

# --- at rest ----------------------------------------------------------------------------------------------------------

my $launcher = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'meter launcher'");
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
my %most = (workers => 0, memory => 0);

# What has been done so far. The workers are the children of the postmaster that have ended, with a few sessions of this test.
sub so_far
{
	my ($turns, $steps) = split /\|/, sql('SELECT sum(turns), sum(steps) FROM meter_internal.worker_processes()');
	return (at => time, launcher => (seconds($launcher))[0], workers => (seconds($postmaster))[1],
		lines => scalar(log_lines()), turns => $turns, steps => $steps);
}

my %before = so_far();
while (time < $before{at} + 2 * $naptime)
{
	my @workers = workers($postmaster);
	$most{workers} = @workers if @workers > $most{workers};
	foreach (@workers)
	{
		my $own = kilobytes($_, 'RssAnon');
		$most{memory} = $own if $own > $most{memory};
	}
	usleep(200_000);
}
ok($node->poll_query_until('postgres', "SELECT sum(turns) >= $before{turns} + $databases FROM meter_internal.worker_processes()"),
	'each database is looked at again');
my %after = so_far();
my $minutes = ($after{at} - $before{at}) / 60;
my $launcher_memory = kilobytes($launcher, 'RssAnon');
my $shared = sql("SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'meter%'");

is($after{lines}, $before{lines}, 'nothing is logged at rest') or diag(join("\n", (log_lines())[ $before{lines} .. $after{lines} - 1 ]));
# one that has done its turn may still be there when the next one begins
cmp_ok($most{workers}, '<=', 6, 'about meter.max_workers connections');
cmp_ok($shared, '<', 1_000_000, 'shared memory is what it always is');
cmp_ok($launcher_memory, '<', 4096, 'the launcher has a small memory');
diag(sprintf(<<'NOTE', $databases, $databases * $streams, $rows, $found, $after{turns} - $before{turns}, $after{steps} - $before{steps}, $minutes * 60, ($after{launcher} - $before{launcher}) / $minutes, ($after{workers} - $before{workers}) / $minutes, $most{workers}, $most{memory} / 1024, $launcher_memory / 1024, $shared / 1e6));
%d databases, %d streams, %d meters: all settled %.1f s after the start began
at rest: %d turns and %d steps in %.0f s; processor time a minute: launcher %.2f s, workers %.1f s
at most %d workers at a time, with %.1f MB each of their own; launcher %.1f MB; shared memory %.2f MB
NOTE

# --- and all of it is right ---------------------------------------------------------------------------------------------

my @wrong = grep {
	$node->safe_psql(database($_), <<"SQL") ne join('|', $streams * $meters, '');
SELECT count(*), (SELECT string_agg(v::text, ' ') FROM meter.stream s, meter.verify(s.name) v) FROM meter.status WHERE watermark = '2024-01-01 01:00Z' AND failures = 0
SQL
} grep { !$full || $_ % 20 == 0 } 0 .. $databases - 1;
is("@wrong", '', 'the ledgers are right');

done_testing();
