# Promise: exactly once, whatever happens. While many sessions write, give up, prepare, hold their transactions open and send again what they
# sent, while workers and people settle, and while the server is killed, the ledger is what the rules say of the rows that are in the log.
#
# Writers work on 24 resources with a clock of their own (meter.now, which the conductor moves on). At random points, and in the end,
# meter.verify is empty and the ledger is what the oracle computes in plain SQL. Stream "net" has measures, which the oracle computes in the end,
# "fleet" has snapshots of two sources, of which meter.verify says that all is right. Two consumers read the ledgers all the while, with their effects
# in the transaction that finishes a batch; what they have in the end is the ledger. Months of "net" are taken out and back, where there are enough.
#
#   METER_SEED=n              the same choices again (what meets what depends on the machine all the same)
#   METER_CHAOS_SECONDS=n     for how long, 20 s by default
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed     = seed();
my $duration = $ENV{METER_CHAOS_SECONDS} || 20;
my $writers  = 5;
my $begin    = seconds('2024-02-28T00:00:00Z');

my $node = PostgreSQL::Test::Cluster->new('chaos');
$node->init;
my $clock_conf = $node->data_dir . '/clock.conf';
my $work       = $node->basedir;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'meter'
meter.naptime = 1s
meter.max_workers = 3
meter.max_workers_per_database = 3
meter.segment_rows = 300
max_prepared_transactions = 20
max_connections = 60
restart_after_crash = on
fsync = off
jit = off
timezone = 'UTC'
include_if_exists = '$clock_conf'
CONF

sub one_of { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }

# --- the clock: a file that the server includes ---------------------------------------------------------------------------

my $now = $begin;

sub set_clock
{
	my ($batch_rows) = @_;
	open my $file, '>', "$clock_conf.new" or die $!;
	printf $file "meter.now = '%s'\nmeter.batch_rows = %d\nmeter.keep_interval = 0\n", stamp($now), $batch_rows;
	close $file;
	rename "$clock_conf.new", $clock_conf or die $!;
	return;
}

sub read_clock
{
	return seconds((slurp_file($clock_conf) =~ /now = '(.*)'/)[0]);
}

# --- sessions ---------------------------------------------------------------------------------------------------------------

# What the server may tell a session that is interrupted, gives up itself, or comes too early; what psql says of a server that is gone, in
# whatever words, is not asked.
my $told     = qr/(?:ERROR|PANIC): |could not be advanced/;
my $expected = qr/current transaction is aborted|given up|canceling statement|could not serialize|terminating|prepared transaction with identifier|meter "late" of stream "cloud" does not exist/;
# (Some versions of psql send the lines of a COPY that was refused as a statement.)
my $refused = qr/syntax error at or near "1"|permission denied for (table|view)|cannot insert into "cloud\.event_\d"|cannot insert a non-DEFAULT value/;

# Two sessions may have the same batch: whoever comes second has none to finish, and the rows already.
my $not_open = qr/is not open|duplicate key value violates unique constraint "got_pkey"/;

# Runs a script in a session of its own; what comes back unexpected is kept for the end.
sub session
{
	my ($who, $sql, $may) = @_;
	my $base = "$work/session_$who";
	open my $file, '>', "$base.sql" or die $!;
	print $file "\\set VERBOSITY terse\n$sql";
	close $file;
	my $connect = $node->connstr('postgres');
	my $status = system("psql -X -q -A -t -d \"$connect\" -f $base.sql >$base.out 2>$base.err");
	my @odd = grep { /$told/ && !/$expected/ && !($may && /$may/) } split /\n/, slurp_file("$base.err");
	append_to_file("$work/odd", join("\n", @odd, "-- in $who:", $sql, '')) if @odd;
	return $status == 0 ? slurp_file("$base.out") : undef;
}

# --- what is written --------------------------------------------------------------------------------------------------------

my @columns = qw(source id time resource account entity action offering value attributes);
my @sent;

sub event_row
{
	my $clock = read_clock();
	return one_of(@sent) if @sent && chance(0.08);		# once more, as it was
	my $how  = rand();
	my $back = $how < 0.15 ? -rand(2 * 3600) : $how < 0.60 ? rand(3600) : $how < 0.90 ? rand(10 * 3600)
	  : $how < 0.98 ? rand(4 * 86400) : 10 * 86400 + rand(10 * 86400);
	my $time = int($clock - $back);
	$time -= $time % 3600 if chance(0.1);
	$time -= $time % 60   if chance(0.6);
	my $with_id = chance(0.5);
	my $row = [
		($with_id || chance(0.2) ? one_of('s1', 's2') : undef), ($with_id ? 'e' . int(rand(40)) : undef), stamp($time), 'r' . int(rand(24)),
		(chance(0.5) ? one_of('A', 'B', 'C') : undef), one_of('vm', 'vm', 'vm', 'disk', undef),
		one_of(('start') x 5, ('stop') x 5, ('resize') x 3, 'ping'), (chance(0.4) ? one_of('s', 'm', 'l') : undef),
		(chance(0.4) ? one_of('1', '2.5', '0', '40') : undef), (chance(0.3) ? one_of('{"zone": "z1"}', '{"zone": "z2"}') : undef) ];
	my ($old) = grep { defined $_->[1] && $_->[6] ne 'void' } reverse @sent;
	if ($old && chance(0.04))
	{
		# taken back, at its time, at the window's edges or out of its reach
		my $void = seconds($old->[2]) + one_of(0, 0, -6 * 3600, 6 * 3600, -6 * 3600 - 1, 6 * 3600 + 1, int(rand(24 * 3600)) - 12 * 3600);
		$row = [ @$old[ 0, 1 ], stamp($void), $old->[3], undef, undef, 'void', undef, undef, undef ];
	}
	push @sent, $row;
	shift @sent if @sent > 30;
	return $row;
}

sub event_values
{
	return join(', ', map { '(' . join(', ', map { literal($_) } @{ event_row() }) . ')' } 1 .. 1 + int(rand(one_of(2, 8, 20))));
}

my $list = join(', ', map { qq("$_") } @columns);

# Measures, one in three late; of counters, too.
sub write_measures
{
	my @rows = map {
		my $time = int(read_clock() - one_of(rand(1800), rand(1800), rand(10 * 3600), rand(7 * 86400)));
		my $counter = chance(0.4);
		my $id = chance(0.6) ? 'm' . int(rand(200)) : undef;
		'(' . join(', ', map { literal($_) } one_of('s1', undef), $id, stamp($time), stamp($time + ($counter ? 0 : int(rand(5400)))), ($counter ? 'c' : 'i') . int(rand(8)),
			one_of('A', 'B', undef), ($counter ? 'port' : 'ip'), one_of('1', '2.5', '100', '-3', int(rand(10000)))) . ')'
	} 1 .. 1 + int(rand(12));
	return 'INSERT INTO net.measure (source, id, start_time, end_time, resource, account, entity, value) VALUES ' . join(', ', @rows) . ";\n";
}

# Events of the fleet, of which many are lost.
sub write_fleet
{
	my @rows = map {
		my $time = int(read_clock() - one_of(rand(3600), rand(3600), rand(20 * 3600)));
		'(' . join(', ', map { literal($_) } one_of('s1', 's2'), 'f' . int(rand(1e9)), stamp($time), 'f' . int(rand(10)), one_of('A', 'B', undef), 'vm',
			one_of('start', 'start', 'stop', 'resize'), one_of('s', 'l', undef)) . ')'
	} 1 .. 1 + int(rand(4));
	return 'INSERT INTO fleet.event (source, id, "time", resource, account, entity, action, offering) VALUES ' . join(', ', @rows) . ";\n";
}

# A snapshot of what some source has, as of a while ago.
sub snapshot
{
	my $at = stamp(int(read_clock() - rand(3 * 3600)));
	my $source = one_of('s1', 's2');
	my @rows = map { "('$source', '$at', 'f$_', " . join(', ', map { literal($_) } one_of('A', 'B', undef), 'vm', one_of('s', 'l'), (chance(0.2) ? stamp(int(read_clock() - 3 * 3600 - rand(7200))) : undef)) . ')' }
	  grep { chance(0.4) } 0 .. 9;
	my $insert = @rows ? 'INSERT INTO fleet.inventory (source, at, resource, account, entity, offering, since) VALUES ' . join(', ', @rows) . ";\n" : '';
	return "BEGIN;\n$insert" . "SELECT FROM meter.reconcile('fleet', '$source', '$at', allow_empty => true, max_stops => 1000);\n" . (chance(0.3) ? pause() : '')
	  . one_of("COMMIT;\n", "COMMIT;\n", "ROLLBACK;\n");
}

# One way for rows to reach the log.
sub write_rows
{
	my $how = rand();
	return write_measures() if chance(0.15);
	return write_fleet()    if chance(0.15);
	return "INSERT INTO cloud.event ($list) VALUES " . event_values() . ";\n" if $how < 0.6;
	return "COPY cloud.event ($list) FROM STDIN;\n"
	  . join('', map { join("\t", map { defined $_ ? $_ : '\N' } @{ event_row() }) . "\n" } 1 .. 1 + int(rand(30))) . "\\.\n" if $how < 0.75;
	return "INSERT INTO through_view ($list) VALUES " . event_values() . ";\n"    if $how < 0.80;
	return "INSERT INTO through_rule ($list) VALUES " . event_values() . ";\n"    if $how < 0.85;
	return "INSERT INTO through_trigger ($list) VALUES " . event_values() . ";\n" if $how < 0.92;
	return "DO \$do\$BEGIN BEGIN INSERT INTO cloud.event ($list) VALUES " . event_values() . "; RAISE EXCEPTION 'given up'; EXCEPTION WHEN raise_exception THEN NULL; END; "
	  . 'INSERT INTO cloud.event (' . $list . ') VALUES ' . event_values() . "; END\$do\$;\n";
}

sub pause
{
	return sprintf("SELECT FROM pg_sleep(%.2f);\n", one_of(0, 0, rand(0.2), rand(0.5), rand(3)));
}

# What a producer may not do: an arrival of its own, or a segment.
sub refused_write
{
	return one_of(
		"INSERT INTO cloud.event_0 (arrival, \"time\", resource, action) VALUES (1, now(), 'refused', 'start');\n",
		"INSERT INTO cloud.event (arrival, \"time\", resource, action) OVERRIDING SYSTEM VALUE VALUES (1, now(), 'refused', 'start');\n",
		"INSERT INTO cloud.event (arrival, \"time\", resource, action) VALUES (1, now(), 'refused', 'start');\n",
		"COPY cloud.event (arrival, \"time\", resource, action) FROM STDIN;\n1\t2024-03-05 00:00Z\trefused\tstart\n\\.\n",
		"RESET SESSION AUTHORIZATION;\nINSERT INTO cloud.event_0 (arrival, \"time\", resource, action) VALUES (1, now(), 'refused', 'start');\n");
}

my $prepared = 0;

sub transaction
{
	my ($who) = @_;
	my $script = "SET SESSION AUTHORIZATION producer;\n";
	$script .= "SET synchronous_commit = off;\n" if chance(0.3);
	return $script . write_rows() if chance(0.35);
	return $script . refused_write() if chance(0.1);
	$script .= "BEGIN;\n" . (chance(0.2) ? pause() : '') . write_rows() . pause();
	if (chance(0.4))
	{
		$script .= "SAVEPOINT s;\n" . write_rows() . pause() . one_of("ROLLBACK TO s;\n", "RELEASE s;\n", "ROLLBACK TO s;\n" . write_rows() . "RELEASE s;\n");
	}
	$script .= write_rows() if chance(0.5);
	return $script . one_of(("COMMIT;\n") x 5, ("ROLLBACK;\n") x 2, ("PREPARE TRANSACTION 'p_${who}_${\ ++$prepared}_$$';\n") x 2);
}

# --- who settles, and who gets in the way -----------------------------------------------------------------------------------

sub settle_somehow
{
	return one_of(
		"SELECT * FROM meter.advance('cloud');\n",
		"CALL meter.run('cloud');\n",
		"CALL meter.run();\n",
		"BEGIN;\nSELECT * FROM meter.advance('cloud');\n" . pause() . one_of("COMMIT;\n", "ROLLBACK;\n"),
		"BEGIN ISOLATION LEVEL " . one_of('REPEATABLE READ', 'SERIALIZABLE') . ";\nSELECT count(*) FROM cloud.event;\n" . pause() . "SELECT * FROM meter.advance('cloud');\nCOMMIT;\n",
		"BEGIN;\n" . write_rows() . "SELECT * FROM meter.advance('cloud');\n" . one_of("COMMIT;\n", "ROLLBACK;\n"),
		"SET statement_timeout = '" . int(rand(60) + 1) . "ms';\nSELECT * FROM meter.advance('cloud');\n",
		chance(0.7) ? () : "SELECT * FROM meter.release('cloud', '" . one_of('hourly', 'late') . "', (SELECT array_agg(arrival) FROM (SELECT arrival FROM cloud.held ORDER BY random() LIMIT 2) h));\n",
		chance(0.7) ? () : "SELECT meter.discard('cloud', '" . one_of('hourly', 'late') . "', (SELECT array_agg(arrival) FROM (SELECT arrival FROM cloud.held ORDER BY random() LIMIT 2) h));\n",
		chance(0.5) ? () : "SELECT meter.rewind('cloud', meter, watermark - interval '" . int(rand(30)) . " hours') FROM meter.status WHERE meter = '"
		  . one_of('hourly', 'late') . "' AND watermark >= '" . stamp($begin + 40 * 3600) . "';\n",
		chance(0.7) ? () : "UPDATE meter.log_progress SET \"position\" = 0, position_watermark = NULL WHERE meter = '" . one_of('hourly', 'late') . "';\n",
		one_of('VACUUM', 'ANALYZE', 'VACUUM FREEZE') . " cloud.event;\n",
		one_of('VACUUM', 'ANALYZE') . " cloud.usage;\n",
		"SELECT count(*) FROM meter.detach_usage('net', '" . stamp($now) . "');\n" . pause() . "SELECT meter.attach_usage('net', month) FROM net._detached;\n",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'meter%' AND backend_type NOT LIKE '%launcher%';\n");
}

# A consumer: what is in a batch goes into a table of its own, in the transaction that finishes the batch. Sometimes it gives up.
sub consume
{
	my ($consumer) = @_;
	my ($stream, $name) = split /\./, $consumer;
	my $size = one_of(1 + int(rand(20)), 1 + int(rand(2000)), 10000);
	return "SELECT count(*) FROM meter.next_batch('$stream', '$name', $size);\n" . pause() if chance(0.1);
	return 'BEGIN' . one_of('', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE') . <<"SQL" . pause() . one_of(("COMMIT;\n") x 4, "ROLLBACK;\n");
;
CREATE TEMP TABLE batch ON COMMIT DROP AS SELECT * FROM meter.next_batch('$stream', '$name', $size);
INSERT INTO got SELECT '$consumer', transaction_id, quantity FROM batch;
SELECT meter.finish_batch('$stream', '$name', max(batch)) FROM batch HAVING count(*) > 0;
SQL
}

sub resolve_prepared
{
	my ($all) = @_;
	my $gids = session('gids', "SELECT gid FROM pg_prepared_xacts;\n") // return;
	my $script = join('', map { one_of('COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED '$_';\n" } grep { $all || chance(0.5) } split /\n/, $gids);
	session('resolver', $script) if $script;
	return;
}

# Starts the server after it was killed, as soon as what is left of it has gone.
sub restart_killed
{
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	while (--$tries > 0 && !$node->start(fail_ok => 1))
	{
		sleep(0.1);
		$node->stop('immediate', fail_ok => 1);
	}
	return;
}

# --- what must be true ------------------------------------------------------------------------------------------------------

my %meters = (
	hourly => [ "starts => '{start}', stops => '{stop}', changes => '{resize}'", "lateness => '20 minutes', max_lateness => '5 days'" ],
	zones  => [
		"aggregate => 'weighted', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{zone}', period => '6 hours', unit => '7 seconds', timezone => 'Asia/Kolkata'",
		"clock => 'event', lateness => '1 hour', max_lateness => NULL" ],
	late => [
		"starts => '{start}', stops => '{stop}', dimensions => '{}', rounding => 'down', increment => '5 minutes', since => '" . stamp($begin + 6 * 3600) . "'",
		"lateness => '0', max_lateness => '1 day'" ]);

my %quantities = (of => "dimensions => '{}', period => '1 hour', timezone => 'UTC', value_from => 'value'");

sub create_meter
{
	my ($name) = @_;
	my $what = join(', ', @{ $meters{$name} });
	return "SELECT FROM meter.create_meter('cloud', '$name', $what);\n";
}

sub check_script
{
	my $script = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n";
	foreach my $name (sort keys %meters)
	{
		my $define = $meters{$name}[0];
		$script .= "SELECT '$name', oracle.differences('cloud', '$name', oracle.define($define)) FROM meter.meter WHERE name = '$name';\n";
	}
	$script .= <<'SQL';
SELECT 'verify', count(*) FROM meter.verify('cloud');
SELECT 'verify of measures', count(*) FROM meter.verify('net');
SELECT 'verify of snapshots', count(*) FROM meter.verify('fleet');
SELECT 'errors', coalesce(string_agg(last_error, '; '), '') FROM meter.status;
SELECT 'revisions', count(*) FROM (SELECT FROM cloud.usage GROUP BY meter, period_start, resource, account, dimensions HAVING max(revision) <> count(*) - 1 OR min(revision) <> 0) q;
SELECT 'settlements', count(*) FROM (SELECT meter, settlement FROM cloud.usage EXCEPT SELECT meter, settlement FROM cloud.settlement) q;
SELECT 'gaps', count(*) FROM (SELECT meter FROM cloud.settlement GROUP BY meter HAVING count(*) <> max(settlement)) q;
SELECT 'refused', count(*) FROM cloud.event WHERE resource = 'refused';
SELECT 'not consumed', (SELECT rows FROM meter.consumer_status WHERE stream = 'cloud' AND consumer = 'all') + (SELECT count(*) FROM got WHERE consumer = 'cloud.all') - (SELECT count(*) FROM cloud.usage);
SELECT 'consumed', count(*) FROM (SELECT consumer, transaction_id, quantity FROM got EXCEPT SELECT 'cloud.all', transaction_id, quantity FROM cloud.usage EXCEPT SELECT 'cloud.one', transaction_id, quantity FROM cloud.usage WHERE meter = 'hourly') q;
SELECT 'totals', count(*) FROM (SELECT meter, account, period_start, dimensions, quantity FROM cloud.account_usage EXCEPT SELECT meter, account, period_start, dimensions, sum(quantity) FROM cloud.usage GROUP BY 1, 2, 3, 4) q;
SELECT 'held in time', count(*) FROM cloud.held h JOIN meter.meter m ON m.name = h.meter WHERE h."time" >= m.watermark - m.max_lateness;
COMMIT;
SQL
	return $script;
}

sub check
{
	my ($when) = @_;
	my $answer = session("check", check_script());
	return if !defined $answer || $answer !~ /held in time/;
	my %said = map { my ($name, $text) = split /\|/, $_, 2; ($name => $text // '') } split /\n/, $answer;
	subtest "$when, at " . stamp($now) => sub {
		foreach my $name (sort keys %said)
		{
			is($said{$name}, exists $meters{$name} || $name eq 'errors' ? '' : '0', $name);
		}
		cmp_ok(scalar(keys %said), '>=', 14, 'all was asked');
	};
	return 1;
}

# --- the run ----------------------------------------------------------------------------------------------------------------

set_clock(1000000);
$node->start;
session('setup', <<"SQL") // die slurp_file("$work/odd");
\\set ON_ERROR_STOP 1
CREATE EXTENSION meter;
@{[ slurp_file("$FindBin::RealBin/../oracle.sql") ]}
@{[ slurp_file("$FindBin::RealBin/../oracle_duplicates.sql") ]}
@{[ slurp_file("$FindBin::RealBin/../oracle_measures.sql") ]}
SELECT FROM meter.create_stream('cloud', '6 hours');
@{[ create_meter('hourly') ]} @{[ create_meter('zones') ]}
SELECT FROM meter.create_stream('net');
SELECT FROM unnest('{sum,count,counter}'::text[]) name, meter.create_meter('net', name, $quantities{of}, since => '@{[ stamp($begin - 86400) ]}', lateness => '20 minutes',
	max_lateness => '5 days', aggregate => name, entity => CASE name WHEN 'counter' THEN 'port' ELSE 'ip' END);
SELECT FROM meter.create_stream('fleet');
SELECT FROM meter.create_meter('fleet', 'fleet', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', since => '@{[ stamp($begin - 86400) ]}', lateness => '20 minutes', max_lateness => '5 days');
SELECT FROM meter.create_consumer('cloud', 'all', from_start => true);
SELECT FROM meter.create_consumer('cloud', 'one', meters => '{hourly}', from_start => true);
CREATE TABLE got (consumer text, transaction_id uuid, quantity numeric, PRIMARY KEY (consumer, transaction_id));
CREATE ROLE producer;
GRANT USAGE ON SCHEMA cloud TO producer;
GRANT INSERT ($list), SELECT ON cloud.event TO producer;
GRANT USAGE ON SCHEMA net, fleet TO producer;
GRANT INSERT (source, id, start_time, end_time, resource, account, entity, value), SELECT ON net.measure TO producer;
GRANT INSERT ($list), SELECT ON fleet.event TO producer;
CREATE VIEW through_view AS SELECT $list FROM cloud.event;
CREATE TABLE through_rule AS SELECT $list FROM cloud.event;
CREATE RULE log AS ON INSERT TO through_rule DO INSTEAD INSERT INTO cloud.event ($list) VALUES (@{[ join(', ', map { qq(new."$_") } @columns) ]});
CREATE TABLE through_trigger AS SELECT $list FROM cloud.event;
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	INSERT INTO cloud.event ($list) VALUES (@{[ join(', ', map { qq(new."$_") } @columns) ]}); RETURN NULL; END \$\$;
CREATE TRIGGER log AFTER INSERT ON through_trigger FOR EACH ROW EXECUTE FUNCTION log_it();
-- some steps stay open for a while once they have written, so that workers meet
CREATE FUNCTION tarry() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	IF random() < 0.3 THEN PERFORM pg_sleep(random()); END IF; RETURN NULL; END \$\$;
CREATE TRIGGER tarry BEFORE INSERT ON cloud.settlement FOR EACH STATEMENT EXECUTE FUNCTION tarry();
GRANT INSERT ON through_view, through_rule, through_trigger TO producer;
SQL

# Each child makes its own choices from the seed until it is told to stop.
my @children;
my $end = time() + $duration;

sub child
{
	my ($number, $turn) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid)
	{
		push @children, $pid;
		return;
	}
	srand($seed + $number);
	while (!-e "$work/stop")
	{
		$turn->($number);
	}
	POSIX::_exit(0);
}

child($_, sub { session("writer$_[0]", transaction($_[0]), $refused) // sleep(0.1) }) foreach 1 .. $writers;
child(101, sub { session('settler', settle_somehow()) // sleep(0.1); sleep(rand(0.5)) });
child(102, sub { resolve_prepared(); sleep(rand(2)) });
child(104, sub { session('consumer1', consume('cloud.all'), $not_open) // sleep(0.1); sleep(rand(0.3)) });
child(105, sub { session('consumer2', consume(one_of('cloud.one', 'cloud.one', 'cloud.all')), $not_open) // sleep(0.1); sleep(rand(0.3)) });
child(103, sub { session('inventory', snapshot()) // sleep(0.1); sleep(rand(2)) });

srand($seed);
my ($kills, $crashes, $checks, $crew) = (0, 0, 0, 0);
my $next_kill  = time() + 3 + rand($duration / 5);
my $next_check = time() + $duration / 4;
my $late_meter = 0;

# On a machine that is busy with other things it takes longer until there is enough to look at.
sub enough
{
	my $answer = session('enough', "SELECT count(*) > 12 * $duration FROM cloud.event;\nSELECT count(*) > 3 FROM meter.log_segments('cloud') WHERE state = 'sealed';\n");
	return defined $answer && $answer =~ /^t\nt$/;
}

while (time() < $end || (time() < $end + $PostgreSQL::Test::Utils::timeout_default && !enough()))
{
	sleep(0.3);
	$now += 60 * int(rand(80));
	set_clock(one_of((1000000) x 4, 200, 7));
	system('pg_ctl', 'reload', '-s', '-D', $node->data_dir) if -e $node->data_dir . '/postmaster.pid';

	# the most workers at one time that were seen
	my $running = session('crew', "SELECT count(*) FROM meter.worker_status WHERE process = 'worker' AND state = 'running';\n");
	$crew = $running if defined $running && $running =~ /^\d+\n$/ && $running > $crew;

	if (!$late_meter && time() > $end - $duration / 2)
	{
		$late_meter = 1 if defined session('create', "\\set ON_ERROR_STOP 1\n" . create_meter('late'));
	}
	if (time() > $next_check)
	{
		$checks++ if check("in between ($checks)");
		$next_check = time() + $duration / 5;
	}
	if (time() > $next_kill)
	{
		if (chance(0.6))
		{
			note('the server is killed');
			$kills++;
			$node->kill9;
			restart_killed();
		}
		else
		{
			note('a backend is killed');
			my $pids = session('victims', "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type <> 'walwriter';\n");
			my $victim = defined $pids ? one_of(split /\n/, $pids) : undef;
			$crashes++ if defined $victim && kill('KILL', $victim);
		}
		$next_kill = time() + 2 + rand(8);
	}
}

append_to_file("$work/stop", '');
waitpid($_, 0) foreach @children;
ok(poll_through_crash($node, 'SELECT true'), 'the server is there in the end');
$node->safe_psql('postgres', create_meter('late')) unless $late_meter;
resolve_prepared(1);
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'all prepared transactions are resolved');

# The worker works off what is left.
set_clock(1000000);
$node->reload;
ok($node->poll_query_until('postgres', <<"SQL"), 'the worker settles what is left');
SELECT bool_and(late_backlog = 0 AND (meter = 'zones' OR watermark >= date_trunc('hour', '@{[ stamp($now) ]}'::timestamptz - interval '20 minutes')))
	AND bool_and(last_error IS NULL) FROM meter.status
SQL
foreach my $consumer ('cloud.all', 'cloud.one')
{
	my ($stream, $name) = split /\./, $consumer;
	1 while $node->safe_psql('postgres', <<"SQL") ne '0';
WITH b AS MATERIALIZED (SELECT * FROM meter.next_batch('$stream', '$name', 3000)), i AS (INSERT INTO got SELECT '$consumer', transaction_id, quantity FROM b),
f AS MATERIALIZED (SELECT meter.finish_batch('$stream', '$name', max(batch)) FROM b HAVING count(*) > 0)
SELECT count(*) FROM f
SQL
}
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT 'cloud.all', transaction_id, quantity FROM cloud.usage UNION ALL SELECT 'cloud.one', transaction_id, quantity FROM cloud.usage WHERE meter = 'hourly' EXCEPT SELECT * FROM got) q"),
	'0', 'consumers have got each row');
is($node->safe_psql('postgres', 'SELECT sum(rows) + sum(settlements) FROM meter.consumer_status'), '0', 'and none is left');
$node->safe_psql('postgres', "SELECT meter.attach_usage('net', month) FROM net._detached");
ok(check('in the end'), 'the end is looked at');
is($node->safe_psql('postgres', "SELECT string_agg(oracle.measure_differences('net', '$_', oracle.define(aggregate => '$_', entity => '" . ($_ eq 'counter' ? 'port' : 'ip') . "', $quantities{of}, since => '" . stamp($begin - 86400) . "')), '')"),
	'', "measures: $_ as the oracle says") foreach qw(sum count counter);
cmp_ok($node->safe_psql('postgres', 'SELECT least((SELECT count(*) FROM net.usage WHERE revision > 0), (SELECT count(*) FROM fleet.snapshot), (SELECT count(*) FROM fleet.usage WHERE revision > 0))'), '>', 0, 'measures, and snapshots, changed what was settled');
is($node->safe_psql('postgres', "SELECT sum(meter.resettle(stream, name, NULL)) FROM meter.meter"), '0', 'settling all of it anew changes nothing');
my ($events, $rows, $adjustments, $held, $voids) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT (SELECT count(*) FROM cloud.event), count(*), count(*) FILTER (WHERE revision > 0), (SELECT count(*) FROM cloud.held), (SELECT count(*) FROM cloud._voided) FROM cloud.usage
SQL
diag("$events events, $rows usage rows of which $adjustments adjustments, $held held, $voids taken back; $kills kills, $crashes crashes, $checks checks in between; at most " . int($crew) . ' workers seen at one time');
cmp_ok($events, '>', 10 * $duration, 'much was written');
cmp_ok($adjustments, '>', 0, 'some of it late');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM meter.log_segments('cloud') WHERE state = 'sealed'"), '>', 3, 'into segments that were rolled and sealed meanwhile');
is(-e "$work/odd" ? slurp_file("$work/odd") : '', '', 'and nobody was told anything odd');
$node->stop;
done_testing();
