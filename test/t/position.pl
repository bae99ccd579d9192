# Promise: no row is ever lost behind a position, however its arrival was drawn, and no one is waited for who does not write.
#
# Here are the ways that need more than sessions: prepared transactions and restarts, sequences that were tampered with, COPY, maintenance,
# and rows that come through views, rules and triggers. The ways that sessions alone can show are in test/isolation.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('position');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
max_prepared_transactions = 10
restart_after_crash = on
fsync = off
autovacuum = off
jit = off
timezone = 'UTC'
shared_preload_libraries = 'meter'
meter.enabled = off
meter.now = '2024-03-05 12:00Z'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION meter; CREATE ROLE producer LOGIN');

# A stream with a meter, settled up to 12:00: whatever is written from now on for the morning is late.
my $streams = 0;

sub new_stream
{
	my $stream = 's' . ++$streams;
	$node->safe_psql('postgres', <<"SQL");
SET client_min_messages = warning;
SELECT FROM meter.create_stream('$stream');
SELECT FROM meter.create_meter('$stream', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
GRANT USAGE ON SCHEMA $stream TO producer;
GRANT INSERT (source, id, "time", resource, account, action) ON $stream.event TO producer;
INSERT INTO $stream.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'vm1', 'a', 'start');
CALL meter.run('$stream');
SQL
	return $stream;
}

sub late
{
	my ($stream, $resource, $minute) = @_;
	return qq(INSERT INTO $stream.event ("time", resource, account, action) VALUES ('2024-03-05 11:$minute:00Z', '$resource', 'a', 'start'););
}

sub advance
{
	my ($stream) = @_;
	return $node->safe_psql('postgres', "SELECT usage_rows, adjustments, late_rows FROM meter.advance('$stream')");
}

# All of these resources are billed in the hour of 11:00, and verify agrees. (It would show a row that was lost: it reads them all.)
sub is_right
{
	my ($stream, $expected, $what) = @_;
	is($node->safe_psql('postgres', <<"SQL"), "$expected||0|0", $what);
SELECT (SELECT string_agg(resource || ' ' || quantity, ', ' ORDER BY resource) FROM $stream.usage_total WHERE period_start = '2024-03-05 11:00Z' AND quantity <> 0),
	(SELECT last_error FROM meter.status WHERE stream = '$stream'), (SELECT late_backlog FROM meter.status WHERE stream = '$stream'),
	(SELECT count(*) FROM meter.verify('$stream'))
SQL
	return;
}

sub blocked_by
{
	my ($stream) = @_;
	return $node->safe_psql('postgres', "SELECT array_to_string(blocked_by, '; ') FROM meter.status WHERE stream = '$stream'");
}

# The worst: a process of the server is killed, and the postmaster, itself the same as before, starts all others anew.
sub crash
{
	my $start = 'SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = \'checkpointer\'';
	my $before = $node->safe_psql('postgres', $start);
	kill 'KILL', $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	ok(poll_through_crash($node, "SELECT ($start) <> '$before'"), 'the server comes back after a crash');
	return;
}

foreach my $end ([ 'a restart', sub { $node->restart } ], [ 'a crash', \&crash ], [ 'kill -9', sub { $node->kill9; restart_killed() } ], [ 'nothing', sub { } ])
{
	my ($what, $happens) = @$end;
	subtest "a writer prepares, the position is noted, then $what" => sub {
		my $stream = new_stream();
		$node->safe_psql('postgres', 'BEGIN; ' . late($stream, 'vm2', 10) . " PREPARE TRANSACTION 'commits'");
		$node->safe_psql('postgres', 'BEGIN; SAVEPOINT s; ' . late($stream, 'vm3', 20) . " PREPARE TRANSACTION 'gives up'");
		$node->safe_psql('postgres', late($stream, 'vm4', 30));
		is(advance($stream), '0|0|0', 'nothing can be said yet of what is late');
		like(blocked_by($stream), qr/^prepared transaction "commits", \w+, since .*; prepared transaction "gives up"/, 'and meter.status names them');
		$happens->();
		is(advance($stream), '0|0|0', 'they are still waited for');
		like(blocked_by($stream), qr/^prepared transaction "commits", \w+, since .*; prepared transaction "gives up"/, 'and still named');
		$node->safe_psql('postgres', "ROLLBACK PREPARED 'gives up'");
		is(advance($stream), '0|0|0', 'one is left');
		$node->safe_psql('postgres', "COMMIT PREPARED 'commits'");
		is(advance($stream), '0|2|2', 'what they committed is seen');
		is_right($stream, 'vm1 60, vm2 50, vm4 30', 'and nothing is lost');
		is(blocked_by($stream), '', 'nobody is in the way any more');
	};
}

sub restart_killed
{
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	while (--$tries > 0 && !$node->start(fail_ok => 1))
	{
		select(undef, undef, undef, 0.1);
		$node->stop('immediate', fail_ok => 1);
	}
	return;
}

subtest 'a writer that prepares after it was noted' => sub {
	my $stream = new_stream();
	my $psql = $node->background_psql('postgres');
	$psql->query_safe('BEGIN; ' . late($stream, 'vm2', 10));
	$node->safe_psql('postgres', late($stream, 'vm3', 20));
	is(advance($stream), '0|0|0', 'it is waited for');
	like(blocked_by($stream), qr/^pid \d+, /, 'and named');
	$psql->query_safe("PREPARE TRANSACTION 'later'");
	is(advance($stream), '0|0|0', 'also once it has prepared');
	$psql->quit;
	is(advance($stream), '0|0|0', 'and once its session is gone');
	crash();
	is(advance($stream), '0|0|0', 'and once its server is');
	$node->safe_psql('postgres', "COMMIT PREPARED 'later'");
	is(advance($stream), '0|2|2', 'then it is seen');
	is_right($stream, 'vm1 60, vm2 50, vm3 40', 'and nothing is lost');
};

subtest 'a sequence that caches' => sub {
	my $stream = new_stream();
	$node->safe_psql('postgres', "ALTER SEQUENCE $stream.event_arrival_seq CACHE 10");
	$node->safe_psql('postgres', late($stream, 'vm2', 10));
	my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT usage_rows, adjustments FROM meter.advance('$stream')");
	like($stderr, qr/WARNING:  meter "vm" of stream "$stream" could not be advanced: sequence "$stream\.event_arrival_seq" must be there with CACHE 1/, 'is told of');
	is($node->safe_psql('postgres', "SELECT last_error ~ 'CACHE 1', watermark = '2024-03-05 12:00Z' FROM meter.status WHERE stream = '$stream'"), 't|t', 'in meter.status, too');
	$node->safe_psql('postgres', "ALTER SEQUENCE $stream.event_arrival_seq CACHE 1; SELECT meter.resume('$stream')");
	is(advance($stream), '0|1|1', 'once it is put right, the meter goes on');
	is_right($stream, 'vm1 60, vm2 50', 'and nothing is lost');
	foreach my $wrong ('CYCLE', 'INCREMENT 2', 'INCREMENT -1')
	{
		$node->safe_psql('postgres', "ALTER SEQUENCE $stream.event_arrival_seq $wrong");
		($status, $stdout, $stderr) = $node->psql('postgres', "SELECT FROM meter.advance('$stream')");
		like($stderr, qr/CACHE 1, INCREMENT 1 and NO CYCLE/, "$wrong is refused");
		$node->safe_psql('postgres', "ALTER SEQUENCE $stream.event_arrival_seq NO CYCLE INCREMENT 1");
	}
};

subtest 'a sequence that was moved' => sub {
	my $stream = new_stream();
	$node->safe_psql('postgres', late($stream, "vm$_", 10)) foreach 2 .. 9;
	is(advance($stream), '0|8|8', 'settled');
	$node->safe_psql('postgres', "SELECT setval('$stream.event_arrival_seq', 3)");
	my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT FROM meter.advance('$stream')");
	like($stderr, qr/arrivals of stream "$stream" went back: the last is 3, but 9 have been looked at/, 'back: an error');
	like($stderr, qr/HINT:  meter\.resume\('$stream'\) moves the sequence on; then meter\.resettle\(\)/, 'that says what to do');
	$node->safe_psql('postgres', late($stream, 'vmA', 20));
	$node->safe_psql('postgres', "SELECT meter.resume('$stream')");
	is(advance($stream), '0|0|0', 'what was written meanwhile lies behind the position');
	is($node->safe_psql('postgres', "SELECT resource FROM meter.verify('$stream')"), 'vmA', 'where verify finds it');
	is($node->safe_psql('postgres', "SELECT meter.resettle('$stream', 'vm', NULL)"), '1', 'and resettle repairs it');
	is_right($stream, 'vm1 60, ' . join(', ', map { "vm$_ 50" } 2 .. 9) . ', vmA 40', 'so that all is there');
	$node->safe_psql('postgres', "ALTER SEQUENCE $stream.event_arrival_seq RESTART WITH 5000000000");
	is(advance($stream), '0|0|0', 'forward, into the next segment: fine');
	$node->safe_psql('postgres', late($stream, 'vmB', 30));
	is(advance($stream), '0|1|1', 'and it goes on from there');
	is($node->safe_psql('postgres', "SELECT tableoid::regclass, arrival FROM $stream.event WHERE resource = 'vmB'"), "$stream.event_1|5000000000", 'in that segment');
	is_right($stream, 'vm1 60, ' . join(', ', map { "vm$_ 50" } 2 .. 9) . ', vmA 40, vmB 30', 'with nothing lost');
};

subtest 'an arrival of one\'s own' => sub {
	my $stream = new_stream();
	my $row = q('2024-03-05 11:10Z', 'x', 'start');
	foreach (
		[ 'COPY with arrival in its list', qq(COPY $stream.event (arrival, "time", resource, action) FROM STDIN;\n1\t2024-03-05 11:10Z\tx\tstart\n\\.\n), qr/permission denied for table event/ ],
		[ 'INSERT with an arrival', qq(INSERT INTO $stream.event (arrival, "time", resource, action) OVERRIDING SYSTEM VALUE VALUES (1, $row)), qr/permission denied for table event/ ],
		[ 'nextval', "SELECT nextval('$stream.event_arrival_seq')", qr/permission denied for sequence/ ],
		[ 'a segment', qq(INSERT INTO $stream.event_0 (arrival, "time", resource, action) OVERRIDING SYSTEM VALUE VALUES (1, $row)), qr/permission denied for table event_0/ ],
		[ 'UPDATE', "UPDATE $stream.event SET arrival = DEFAULT", qr/permission denied for table event/ ])
	{
		my ($what, $sql, $error) = @$_;
		my ($status, $stdout, $stderr) = $node->psql('postgres', "SET SESSION AUTHORIZATION producer;\n$sql");
		like($stderr, $error, "$what is refused to a producer");
	}
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq(INSERT INTO $stream.event_0 (arrival, "time", resource, action) OVERRIDING SYSTEM VALUE VALUES (1, $row)));
	like($stderr, qr/cannot insert into "$stream\.event_0", a segment of a log/, 'a segment is refused to its owner, too');
	$node->safe_psql('postgres', qq(SET SESSION AUTHORIZATION producer;\nCOPY $stream.event ("time", resource, account, action) FROM STDIN;\n2024-03-05 11:10Z\tvm2\ta\tstart\n\\.\n));
	is(advance($stream), '0|1|1', 'COPY without it is fine');

	# What an owner forces in by hand is found, and repaired.
	my $value = $node->safe_psql('postgres', "SELECT nextval('$stream.event_arrival_seq')");
	$node->safe_psql('postgres', late($stream, 'vm3', 20));
	is(advance($stream), '0|1|1', 'a value was drawn, and another writer settled');
	$node->safe_psql('postgres', qq(INSERT INTO $stream.event (arrival, "time", resource, account, action) OVERRIDING SYSTEM VALUE VALUES ($value, '2024-03-05 11:30Z', 'vm4', 'a', 'start')));
	is(advance($stream), '0|0|0', 'what is put there by hand lies behind the position');
	is($node->safe_psql('postgres', "SELECT resource FROM meter.verify('$stream')"), 'vm4', 'verify finds it');
	is($node->safe_psql('postgres', "SELECT meter.resettle('$stream', 'vm', NULL)"), '1', 'resettle repairs it');
	is_right($stream, 'vm1 60, vm2 50, vm3 40, vm4 30', 'and all is there');
};

subtest 'who only tidies up is no writer' => sub {
	my $stream = new_stream();
	my $psql = $node->background_psql('postgres');
	# Their locks, held for as long as it takes: VACUUM and CREATE INDEX CONCURRENTLY take ShareUpdateExclusiveLock, and so does ANALYZE.
	$psql->query_safe("BEGIN; ANALYZE $stream.event; LOCK TABLE $stream.event_1 IN SHARE UPDATE EXCLUSIVE MODE; SELECT count(*) FROM $stream.event");
	$node->safe_psql('postgres', late($stream, 'vm2', 10));
	is(advance($stream), '0|1|1', 'late rows do not wait for it');
	is(blocked_by($stream), '', 'and nobody is blamed');

	# CREATE INDEX CONCURRENTLY, for real: it waits for the snapshot of the session above, with its lock in hand.
	my $sessions = "FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'";
	my $builder = $node->background_psql('postgres');
	$builder->query_until(qr/building/, "\\echo building\nCREATE INDEX CONCURRENTLY ON $stream.event_0 (account);\n");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $sessions"), 'an index is being built');
	$node->safe_psql('postgres', late($stream, 'vm3', 20));
	is(advance($stream), '0|1|1', 'late rows do not wait for that, either');
	$psql->query_safe('COMMIT');
	$psql->quit;
	$builder->quit;
	$node->safe_psql('postgres', "VACUUM FREEZE $stream.event");
	is_right($stream, 'vm1 60, vm2 50, vm3 40', 'and all is there');
};

# PREPARE and EXPLAIN of an INSERT take the lock on the log, and need no right for that.
subtest 'who only prepares a statement is no writer' => sub {
	my $stream = new_stream();
	$node->safe_psql('postgres', "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA $stream TO reader; GRANT SELECT ON $stream.event TO reader");
	my $insert = qq(INSERT INTO $stream.event ("time", resource, account, action) VALUES (\$1, \$2, 'a', 'start'));
	my $reader = $node->background_psql('postgres');
	my $writer = $node->background_psql('postgres');
	$reader->query_safe("SET SESSION AUTHORIZATION reader; BEGIN; PREPARE i (timestamptz, text) AS $insert; SELECT count(*) FROM $stream.event");
	$writer->query_safe("BEGIN; PREPARE i (timestamptz, text) AS $insert");
	$node->safe_psql('postgres', late($stream, 'vm2', 10));
	is(advance($stream), '0|1|1', 'late rows do not wait for one who is idle');
	is(blocked_by($stream), '', 'and nobody is blamed');

	# in one transaction: what the sessions do is looked at anew for each bound
	my $settler = $node->background_psql('postgres');
	$settler->query_safe("BEGIN; SELECT count(*) FROM pg_stat_activity; SELECT FROM meter.advance('$stream')");
	$writer->query_safe("EXECUTE i ('2024-03-05 11:20Z', 'vm3')");
	$node->safe_psql('postgres', late($stream, 'vm4', 30));
	is($settler->query_safe("SELECT late_rows FROM meter.advance('$stream')"), '0', 'one who has inserted meanwhile is waited for');
	$settler->query_safe('COMMIT');
	like(blocked_by($stream), qr/^pid \d+, /, 'and named');
	$writer->query_safe('COMMIT');
	is(advance($stream), '0|2|2', 'what it wrote is seen');

	# idle, but it has written before
	$writer->query_safe("BEGIN; EXECUTE i ('2024-03-05 11:40Z', 'vm5')");
	$node->safe_psql('postgres', late($stream, 'vm6', 50));
	is(advance($stream), '0|0|0', 'one who is idle and has written is waited for');
	$writer->query_safe('COMMIT');
	is(advance($stream), '0|2|2', 'and seen');

	# at work, and nothing written yet
	$writer->query_until(qr/begun/, "BEGIN; EXPLAIN INSERT INTO $stream.event (resource) VALUES ('x');\n\\echo begun\nSELECT pg_sleep(86400);\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
	$node->safe_psql('postgres', late($stream, 'vm7', 55));
	is(advance($stream), '0|0|0', 'one who is at work is waited for, whatever it does');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
	is(advance($stream), '0|1|1', 'until it is gone');
	is_right($stream, 'vm1 60, vm2 50, vm3 40, vm4 30, vm5 20, vm6 10, vm7 5', 'and nothing is lost');
	$reader->quit;
	$settler->quit;
	eval { $writer->quit };
};

# A transaction that has prepared holds its locks, and a transaction ID: nobody can say that it wrote nothing.
subtest 'a prepared transaction that holds the lock is a writer' => sub {
	my $stream = new_stream();
	$node->safe_psql('postgres', "BEGIN; SELECT count(*) FROM $stream.event; PREPARE TRANSACTION 'only read'");
	$node->safe_psql('postgres', late($stream, 'vm3', 20));
	is(advance($stream), '0|1|1', 'one that only read is none');
	$node->safe_psql('postgres', "ROLLBACK PREPARED 'only read'");
	$node->safe_psql('postgres', "BEGIN; EXPLAIN INSERT INTO $stream.event (resource) VALUES ('x'); PREPARE TRANSACTION 'reader'");
	$node->safe_psql('postgres', late($stream, 'vm2', 10));
	is(advance($stream), '0|0|0', 'it is waited for');
	like(blocked_by($stream), qr/^prepared transaction "reader"/, 'and named');
	$node->safe_psql('postgres', "ROLLBACK PREPARED 'reader'");
	is(advance($stream), '0|1|1', 'until it is gone');
	is_right($stream, 'vm1 60, vm2 50, vm3 40', 'and nothing is lost');
};

subtest 'writers through views, rules and triggers' => sub {
	my $stream = new_stream();
	my $columns = '"time", resource, account, action';
	my $new     = join(', ', map { "new.$_" } split /, /, $columns);
	$node->safe_psql('postgres', <<"SQL");
CREATE VIEW a_view AS SELECT $columns FROM $stream.event;
CREATE TABLE a_rule AS SELECT $columns FROM $stream.event WITH NO DATA;
CREATE RULE log AS ON INSERT TO a_rule DO INSTEAD INSERT INTO $stream.event ($columns) VALUES ($new);
CREATE TABLE a_trigger (LIKE a_rule);
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO $stream.event ($columns) VALUES ($new); RETURN new; END \$\$;
CREATE TRIGGER log AFTER INSERT ON a_trigger FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE TABLE a_deferred_trigger (LIKE a_rule);
CREATE CONSTRAINT TRIGGER log AFTER INSERT ON a_deferred_trigger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION log_it();
CREATE VIEW a_view_with_trigger AS SELECT $columns FROM $stream.event;
CREATE TRIGGER log INSTEAD OF INSERT ON a_view_with_trigger FOR EACH ROW EXECUTE FUNCTION log_it();
SQL
	my ($n, $expected) = (2, 'vm1 60');
	foreach my $way ('a_view', 'a_rule', 'a_trigger', 'a_deferred_trigger', 'a_view_with_trigger', 'cte')
	{
		my $row = "VALUES ('2024-03-05 11:10Z'::timestamptz, 'vm$n', 'a', 'start')";
		my $write = $way eq 'cte' ? "WITH w AS (INSERT INTO $stream.event ($columns) $row RETURNING arrival) SELECT count(*) FROM w"
		  : "INSERT INTO $way $row" . ($way eq 'a_deferred_trigger' ? '; SET CONSTRAINTS ALL IMMEDIATE' : '');
		my $psql = $node->background_psql('postgres');
		$psql->query_safe("BEGIN; $write");
		my $m = $n + 1;
		$node->safe_psql('postgres', late($stream, "vm$m", 20));
		is(advance($stream), '0|0|0', "$way: the writer is waited for");
		like(blocked_by($stream), qr/^pid \d+, /, "$way: and named");
		$psql->query_safe('COMMIT');
		$psql->quit;
		is(advance($stream), '0|2|2', "$way: what it wrote is seen");
		$expected .= ", vm$n 50, vm$m 40";
		$n += 2;
	}
	my @sorted = sort split /, /, $expected;
	is_right($stream, join(', ', @sorted), 'and all is there');
};

$node->stop;
done_testing();
