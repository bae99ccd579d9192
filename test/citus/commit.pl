# Promise: on a cluster, too, a bill is made once, of all rows that are committed. A node commits after the coordinator: until then no row is passed by,
# no step begins, no batch leaves out a row. A node that is down is an error of the meter, and nothing is half done. What cannot work is refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

citus_or_skip();
my ($coordinator, @workers) = start_cluster('commit', 'wal_level = replica', 'max_wal_senders = 2', 'citus.recover_2pc_interval = -1', 'citus.node_connection_timeout = 5s');

# The error of a script, in a database.
sub error
{
	my ($script, $database, $node, $level) = @_;
	my ($stdout, $stderr);
	($node || $coordinator)->psql($database || 'cluster', ($level || 'SET client_min_messages = warning') . ";\n$script", stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
	$stderr =~ s/^psql:<stdin>:\d+: //mg;
	return $stderr;
}

# --- what is refused ---

sql("SELECT meter.create_stream('cloud'); SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00Z')");
$coordinator->safe_psql('alone', quietly("SELECT meter.create_stream('cloud')"));
like(error("SELECT meter.distribute_stream('cloud')", 'alone'), qr/extension "citus" is not in this database/, 'without Citus');
like(error("SELECT meter.distribute_stream('none')"), qr/stream "none" does not exist/, 'no such stream');
like(error("SELECT meter.distribute_stream('cloud', 0)"), qr/"shard_count" must be from 1/, 'no shards');
$workers[1]->safe_psql('cluster', 'SET citus.enable_ddl_propagation = off; SET citus.enable_metadata_sync = off; DROP EXTENSION meter CASCADE');
like(error("SELECT meter.distribute_stream('cloud')"), qr/does not have extension "meter"/, 'a node without the extension');
$workers[1]->safe_psql('cluster', 'SET citus.enable_ddl_propagation = off; SET citus.enable_metadata_sync = off; CREATE EXTENSION meter');
sql("SELECT meter.distribute_stream('cloud', 4)");
like(error("SELECT meter.distribute_stream('cloud')"), qr/is distributed already/, 'twice');
like(error("SELECT meter.create_stream('other'); SELECT meter.distribute_stream('other')", 'cluster', $workers[0]), qr/worker of the cluster|not allowed on this node/, 'on a worker');
like(error($_), qr/does not work on a distributed stream/, "refused: $_")
  foreach "SELECT meter.isolate_tenants('cloud')";
like(error(q(INSERT INTO cloud.event ("time", resource, action) VALUES (now(), 'r', 'start')), 'cluster', $workers[0]), qr/no partition of relation/, 'a writer through a worker is refused');
$coordinator->safe_psql('cluster', 'CREATE ROLE owner LOGIN; GRANT CREATE ON DATABASE cluster TO owner');
is(error("SET ROLE owner; SELECT meter.create_stream('own'); SELECT meter.create_meter('own', 'vm', starts => '{start}', stops => '{stop}'); SELECT meter.distribute_stream('own', 2);
	INSERT INTO own.event (\"time\", resource, account, action) VALUES ('2024-03-05 10:00Z', 'r', 'a', 'start'); CALL meter.run('own')", undef, undef, 'SET client_min_messages = error'), '', 'an owner who is no superuser');
like(error("SET ROLE owner; $_"), qr/permission denied/, "a guard: $_") foreach 'DELETE FROM own.usage', 'UPDATE own.usage SET quantity = 0', 'TRUNCATE own.event', 'TRUNCATE own._resource_state';

# the name of a meter has all that a name can have
my $odd = q('it''s WHERE "x"');
is(error("SELECT meter.create_stream('odd'); SELECT meter.create_meter('odd', $odd, starts => '{start}', stops => '{stop}', clock => 'wall', lateness => '0', since => '2024-03-05 00:00Z');
	INSERT INTO odd.event (\"time\", resource, account, action) VALUES ('2024-03-05 10:00Z', 'r', 'a', 'start'); SELECT meter.distribute_stream('odd', 2);
	SET meter.now = '2024-03-05 12:00Z'; CALL meter.run('odd')", undef, undef, 'SET client_min_messages = error'), '', 'an odd name: distributed, and settled');
is(sql("SELECT sum(quantity) FROM odd.usage WHERE meter = $odd; SELECT count(*) FROM meter.verify('odd', $odd)"), "120\n0", 'an odd name: usage');
sql("SELECT meter.drop_stream('odd', delete_data => true)");

# --- rows that the coordinator has committed, and nodes have prepared ---

my $now = "SET meter.now = '2024-03-05 14:00Z'; SET synchronous_commit = local;";

sub advance { return sql("$now SELECT usage_rows, adjustments, late_rows FROM meter.advance('cloud')"); }

sub start_of
{
	my ($first, $last) = @_;
	return qq(INSERT INTO cloud.event ("time", resource, account, action) SELECT '2024-03-05 11:00Z', 'vm' || i, 'a', 'start' FROM generate_series($first, $last) i;);
}

sub is_right
{
	my ($resources, $name) = @_;
	is(sql("SELECT count(DISTINCT resource) FROM cloud.usage WHERE quantity > 0"), $resources, "$name: all are billed");
	is(sql("SELECT count(*) FROM meter.verify('cloud')"), '0', "$name: verify is empty");
	return;
}

# A session whose commit has been written on the coordinator, and waits there: nodes have it prepared.
sub waiting_commit
{
	my ($script) = @_;
	$coordinator->safe_psql('cluster', "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	$coordinator->reload;
	my $session = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $coordinator->connstr('cluster'), '-v', 'VERBOSITY=terse', '-c', 'SET synchronous_commit = on', '-c', 'BEGIN', '-c', $script, '-c', 'COMMIT' ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	ok($coordinator->poll_query_until('cluster', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), 'a commit waits');
	return $session;
}

sub let_go
{
	sql("SET synchronous_commit = local; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
	return;
}

sub standby_is_not_waited_for
{
	sql('SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names');
	$coordinator->reload;
	return;
}

sql(start_of(1, 40));
advance();
is(advance(), '0|0|0', 'all is settled');
is_right(40, 'the beginning');

my $session = waiting_commit(start_of(41, 80));
my @stopped = map { $_->safe_psql('cluster', "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle%' AND query LIKE 'PREPARE TRANSACTION%'") } @workers;
@stopped = map { split /\n/ } @stopped;
cmp_ok(scalar(@stopped), '>=', 2, 'two backends of nodes have prepared');
kill 'STOP', @stopped;
let_go();
sleep(1);
is(sql("SELECT count(*) FROM pg_locks WHERE relation = 'cloud.event'::regclass AND mode = 'RowExclusiveLock' AND virtualtransaction LIKE '%/0'"), '1', 'committed here, not there');
is(advance(), '0|0|0', 'no late row is seen') foreach 1 .. 3;
kill 'CONT', @stopped;
$session->finish;
standby_is_not_waited_for();
is((map { advance() } 1 .. 3)[-1], '0|0|0', 'steps');
is_right(80, 'committed everywhere at last');

# --- a node that cannot be told to commit: nothing is left of the transaction on the coordinator ---

$session = waiting_commit(start_of(81, 120));
$workers[1]->stop('immediate');
let_go();
$session->finish;
standby_is_not_waited_for();
is(error("$now SELECT * FROM meter.advance('cloud')"), '', 'without the node nothing is passed by');
like(error("SET meter.now = '2024-03-05 15:00Z'; SELECT * FROM meter.advance('cloud')"), qr/could not be advanced/, 'a step without the node is an error of the meter');
is(sql("SELECT watermark FROM meter.meter WHERE stream = 'cloud'"), '2024-03-05 14:00:00+00', 'nothing is half done');
$workers[1]->start;
is($workers[1]->safe_psql('cluster', 'SELECT count(*) > 0 FROM pg_prepared_xacts'), 't', 'the node has it prepared');
is(advance(), '0|0|0', 'what is prepared is not passed by') foreach 1 .. 3;
cmp_ok(sql('SELECT recover_prepared_transactions()'), '>=', 1, 'recovered');
advance() foreach 1 .. 3;
is_right(120, 'recovered');

# --- a step that a node has prepared: the next one, verify and questions wait ---

my @questions = ("SELECT * FROM meter.live_usage('cloud')", 'SELECT * FROM cloud.current_usage', 'SELECT * FROM cloud.anomaly', "SELECT * FROM meter.explain('cloud', gen_random_uuid())");
sql(start_of(121, 160));
sql("SELECT meter.create_consumer('cloud', 'rater')");
$session = waiting_commit("SET meter.now = '2024-03-05 15:00Z'; SELECT meter.advance('cloud')");
$workers[0]->stop('immediate');
let_go();
$session->finish;
standby_is_not_waited_for();
$workers[0]->start;
sql("ALTER SYSTEM SET lock_timeout = '1s'");
$_->safe_psql('postgres', "ALTER SYSTEM SET lock_timeout = '1s'"), $_->reload foreach @workers;
like(error("SET meter.now = '2024-03-05 16:00Z'; SELECT * FROM meter.advance('cloud')"), qr/could not be advanced: canceling statement due to lock timeout/, 'the next step waits');
like(error("SELECT * FROM meter.verify('cloud')"), qr/lock timeout/, 'verify waits');
like(error("SELECT * FROM meter.next_batch('cloud', 'rater')"), qr/lock timeout/, 'a batch waits');
like(error("SET meter.now = '2024-03-05 15:30Z'; $_"), qr/lock timeout/, "a question waits: $_") foreach @questions;
sql('SELECT recover_prepared_transactions()');
is(sql("SELECT count(*) = (SELECT usage_rows FROM cloud.settlement ORDER BY settlement DESC LIMIT 1) FROM meter.next_batch('cloud', 'rater')"), 't', 'then it has all rows');
is_right(160, 'recovered');
is(sql("SET meter.now = '2024-03-05 15:30Z'; SELECT count(DISTINCT resource), bool_or(settled), trim_scale(sum(quantity)) FROM ($questions[0]) u"), '160|t|' . 160 * 270, 'then the answer has it');

# --- a shard that was moved while its node had a step prepared ---

sql("UPDATE cloud._shard SET step = step - 1 WHERE meter = 'vm' AND resource = (SELECT min(resource) FROM cloud._shard)");
like(error("SET meter.now = '2024-03-05 18:00Z'; SELECT * FROM meter.advance('cloud')"), qr/a shard of stream "cloud" has lost what a step of meter "vm" wrote/, 'what a step wrote is missing');
sql("SELECT meter.resettle('cloud', 'vm')");
is(error("SET meter.now = '2024-03-05 18:00Z'; SELECT * FROM meter.advance('cloud')"), '', 'computed anew');
is_right(160, 'computed anew');

done_testing();
