# Promise: what a restore left out, what a crash emptied, and what a copy of the database has, is noticed before anything is billed by it, and the
# message says what to do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('restored');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\njit = off\ntimezone = 'UTC'\n");
$node->start;
my $ledger = 'SELECT md5(string_agg(format(\'%s %s %s %s %s\', meter, account, resource, period_start, quantity), \';\' ORDER BY meter, account, resource, period_start)) FROM cloud.usage_total WHERE quantity <> 0';
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SET client_min_messages = warning;
SET meter.now = '2024-03-05 08:00Z';
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT meter.create_meter('cloud', 'bytes', 'counter', dimensions => '{}', lateness => '0');
INSERT INTO cloud.event ("time", resource, account, action) SELECT '2024-03-05 08:00Z'::timestamptz + n * interval '5 minutes', 'r' || n, 'acme', 'start' FROM generate_series(1, 5) n;
INSERT INTO cloud.measure (start_time, end_time, resource, value) SELECT t, t, 'r' || n, extract(hour FROM t) * n FROM generate_series(1, 5) n, generate_series('2024-03-05 08:00Z', '2024-03-05 10:00Z', interval '30 minutes') t;
SET meter.now = '2024-03-05 09:00Z';
CALL meter.run('cloud');
SQL
my $dir = $node->basedir;
my $url = $node->connstr('postgres');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/older", $url ], 'an older dump');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO cloud.event ("time", resource, action) VALUES ('2024-03-05 08:40Z', 'r2', 'stop'), ('2024-03-05 09:10Z', 'r3', 'stop');
SET meter.now = '2024-03-05 11:00Z';
CALL meter.run('cloud');
SQL
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $url ], 'a dump');
$node->command_ok([ 'pg_dump', '-Fc', '--load-via-partition-root', '-f', "$dir/root", $url ], 'one that goes through the logs');
$node->command_ok([ 'pg_dump', '-Fc', '--exclude-table-data=cloud._resource_state', '--exclude-table-data=cloud._counter_state', '-f', "$dir/stateless", $url ], 'one without the states');
my $go_on = <<'SQL';
INSERT INTO cloud.event ("time", resource, action) VALUES ('2024-03-05 11:10Z', 'r4', 'stop');
INSERT INTO cloud.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 11:10Z', '2024-03-05 11:10Z', 'r4', 1000);
SET meter.now = '2024-03-05 13:00Z';
CALL meter.run('cloud');
SQL
$node->safe_psql('postgres', 'CREATE DATABASE original TEMPLATE postgres');
my $expected = do { my $o = $node->safe_psql('original', "SET client_min_messages = error; SELECT meter.resume('cloud'); $go_on $ledger"); $o =~ s/^\n//; $o };

sub restore
{
	my ($db, @args) = @_;
	return $node->run_log([ 'pg_restore', '-d', $node->connstr($db), @args ]);
}

# What a statement raises: message, detail and hint.
sub raises
{
	my ($db, $sql, $pattern, $what) = @_;
	my ($code, $stdout, $stderr) = $node->psql($db, "SET client_min_messages = warning; SET meter.now = '2024-03-05 12:00Z'; $sql");
	like($stderr, $pattern, $what);
	return;
}

# Goes on where the original does, and says the same.
sub goes_on
{
	my ($db, $what) = @_;
	is($node->safe_psql($db, "SELECT active FROM meter.status WHERE meter = 'vm'"), 't', "$what: active");
	(my $said = $node->safe_psql($db, "SET client_min_messages = error; $go_on $ledger")) =~ s/^\n//;
	is($said, $expected, "$what: the same ledger");
	is($node->safe_psql($db, "SELECT count(*) FROM meter.verify('cloud')"), '0', "$what: verify is empty");
	is($node->safe_psql($db, 'SELECT count(last_error) FROM meter.status'), '0', "$what: no errors");
	return;
}

sub create { $node->safe_psql('postgres', "CREATE DATABASE $_[0]"); return; }

# Schema and data apart.
create('apart');
ok(restore('apart', '--exit-on-error', '--schema-only', "$dir/dump"), 'the schema alone');
raises('apart', "SELECT meter.resume('cloud')", qr/stream "cloud" does not exist/, 'there is no stream yet');
ok(restore('apart', '--exit-on-error', '--data-only', '--disable-triggers', "$dir/dump"), 'then the data, without triggers');
$node->safe_psql('apart', "SELECT meter.resume('cloud')");
goes_on('apart', 'schema, then data without triggers');

create('root');
ok(restore('root', '--exit-on-error', '--schema-only', "$dir/root") && restore('root', '--exit-on-error', '--data-only', "$dir/root"), 'data that goes through the logs needs no flag');
$node->safe_psql('root', "SELECT meter.resume('cloud')");
goes_on('root', 'data through the logs');

create('piped');
$node->command_ok([ 'bash', '-o', 'pipefail', '-c', "(pg_dump --schema-only '$url'; pg_dump --data-only --disable-triggers '$url') | psql -XqAt -v ON_ERROR_STOP=1 -1 -d '" . $node->connstr('piped') . "'" ], 'both in one run, through psql');
$node->safe_psql('piped', "SELECT meter.resume('cloud')");
goes_on('piped', 'both in one run');

create('refused');
restore('refused', '--schema-only', "$dir/dump");
my ($out, $err) = run_command([ 'pg_restore', '-d', $node->connstr('refused'), '--data-only', "$dir/dump" ]);
like($err, qr/cannot insert into "cloud\.event_0", a segment of a log.*--disable-triggers/s, 'with triggers the segments refuse the data, and say which flag it needs');
raises('refused', "SELECT meter.resume('cloud')", qr/log "cloud\.(?:event|measure)" is empty, but the ledger has usage.*--disable-triggers/s, 'a log without rows is not taken up');
raises('refused', "SELECT meter.resettle('cloud', '$_')", qr/is empty, but the ledger has usage/, "nor is $_ computed anew from it") foreach 'vm', 'bytes';
ok(restore('refused', '--exit-on-error', '--data-only', '--disable-triggers', '-t', 'event_0', "$dir/dump"), 'one of the logs');
raises('refused', "SELECT meter.resume('cloud')", qr/log "cloud\.measure" is empty/, 'the other one is still missing');
ok(restore('refused', '--exit-on-error', '--data-only', '--disable-triggers', '-t', 'measure_0', "$dir/dump"), 'and the other one');
$node->safe_psql('refused', "SELECT meter.resume('cloud')");
goes_on('refused', 'data in two runs');

# A log that is older than the catalog.
create('older');
$node->safe_psql('older', "SELECT 1");
restore('older', '--exit-on-error', "$dir/dump");
$node->safe_psql('older', 'SET session_replication_role = replica; DELETE FROM cloud.event');
restore('older', '--exit-on-error', '--data-only', '--disable-triggers', '-t', 'event_0', "$dir/older");
raises('older', "SELECT meter.resume('cloud')", qr/log "cloud\.event" has lost rows that meter "(?:vm|bytes)" has read.*meter\.resettle/s, 'a log that ends too early is not taken up');
raises('older', "SELECT meter.resettle('cloud', 'vm'), meter.resettle('cloud', 'bytes'); SELECT meter.resume('cloud')", qr/^$/, 'unless a person says that it is what is left');
is($node->safe_psql('older', "SELECT sum(quantity) FROM cloud.usage WHERE meter = 'vm' AND resource = 'r2'"), '170', 'then what is lost is taken back');
is($node->safe_psql('older', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'and verify is empty');

# Without the states.
create('stateless');
restore('stateless', '--exit-on-error', "$dir/stateless");
raises('stateless', "SELECT meter.resume('cloud')", qr/carried states of meter "bytes" of stream "cloud" were lost or changed.*meter\.resettle\('cloud', 'bytes'\)/s, 'without the states nothing is taken up');
raises('stateless', "SELECT meter.verify('cloud')", qr/carried states of meter/, 'and verify says so');
raises('stateless', "SELECT meter.resettle('cloud', 'bytes')", qr/^$/, 'one meter is repaired');
raises('stateless', "SELECT meter.resume('cloud')", qr/carried states of meter "vm"/, 'the other one is not');
raises('stateless', "SELECT meter.resettle('cloud', 'vm'); SELECT meter.resume('cloud')", qr/^$/, 'until it is');
goes_on('stateless', 'without the states');

# A ledger that is older than the rest.
create('ledger');
restore('ledger', '--exit-on-error', "$dir/dump");
$node->safe_psql('ledger', 'SET session_replication_role = replica; DELETE FROM cloud.usage');
restore('ledger', '--exit-on-error', '--data-only', '-t', 'usage', "$dir/older");
raises('ledger', "SELECT meter.resume('cloud')", qr/ledger of stream "cloud" has lost rows of meter.*meter\.resettle/s, 'a ledger that lost rows is not taken up');
raises('ledger', "SELECT meter.resettle('cloud', 'vm'), meter.resettle('cloud', 'bytes'); SELECT meter.resume('cloud')", qr/^$/, 'resettle writes them again');
goes_on('ledger', 'an older ledger');

# A copy of the database.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
is($node->safe_psql('copy', 'SELECT bool_or(active) FROM meter.status'), 'f', 'a copy of the database is not active');
raises('copy', "SELECT meter.advance('cloud')", qr/not active.*copy of the database.*meter\.resume/s, 'it is not settled when it is named');
is($node->safe_psql('copy', "SET meter.now = '2024-03-05 12:00Z'; SELECT count(*) FROM meter.advance(); CALL meter.run()"), '0', 'nor otherwise');
$node->safe_psql('copy', "SELECT meter.resume('cloud')");
goes_on('copy', 'the copy, resumed');
is($node->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'the original is active as before');

# A base backup that is started as a server of its own; and one that is promoted.
$node->backup('base');
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init_from_backup($node, 'base');
$second->start;
is($second->safe_psql('postgres', 'SELECT bool_or(active) FROM meter.status'), 'f', 'a base backup that is started as a second server is not active');
my ($code, $stdout, $stderr) = $second->psql('postgres', "SELECT meter.advance('cloud')");
like($stderr, qr/not active/, 'and settles nothing');
$second->safe_psql('postgres', "SELECT meter.resume('cloud')");
is($second->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'until it is resumed');
$second->restart;
is($second->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'and stays active');
$second->stop;
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'a standby says what its primary says');
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'and is active when it is promoted');
$standby->safe_psql('postgres', "SET client_min_messages = error; $go_on");
is($standby->safe_psql('postgres', "SELECT count(*) FROM meter.active_stream a, meter_internal.home() h WHERE a.backup = h.backup"), '1', 'its first step writes down where it is');
$standby->restart;
is($standby->safe_psql('postgres', "SELECT bool_and(active) FROM meter.status"), 't', 'and stays active');
$standby->stop;

# A server of another version takes the row for what pg_upgrade brought; one with another system identifier, for a copy.
$node->safe_psql('postgres', 'UPDATE meter.active_stream SET system = system + 1, version = version - 1');
is($node->safe_psql('postgres', 'SELECT bool_and(active) FROM meter.status'), 't', 'after pg_upgrade it is active');
$node->safe_psql('postgres', 'UPDATE meter.active_stream SET version = version + 1');
is($node->safe_psql('postgres', 'SELECT bool_or(active) FROM meter.status'), 'f', 'with another system identifier alone it is not');
$node->safe_psql('postgres', "SELECT meter.resume('cloud')");

# Tables that were unlogged when the server crashed.
$node->safe_psql('postgres', 'ALTER TABLE cloud._resource_state SET UNLOGGED; ALTER TABLE cloud._counter_state SET UNLOGGED; CHECKPOINT');
raises('postgres', "SELECT meter.advance('cloud', 'vm')", qr/table cloud\._counter_state is unlogged.*SET LOGGED/s, 'an unlogged table is named');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM cloud._resource_state'), '0', 'the crash emptied it');
raises('postgres', "SELECT meter.advance('cloud', '$_')", qr/is unlogged/, "$_ is not settled") foreach 'vm', 'bytes';
$node->safe_psql('postgres', 'ALTER TABLE cloud._resource_state SET LOGGED; ALTER TABLE cloud._counter_state SET LOGGED');
raises('postgres', "SELECT meter.advance('cloud', '$_')", qr/carried states of meter "$_".*meter\.resettle/s, "nor with the empty table: $_") foreach 'vm', 'bytes';
$node->safe_psql('postgres', "SELECT meter.resettle('cloud', name) FROM meter.meter");
goes_on('postgres', 'after the crash');

$node->stop;
done_testing();
