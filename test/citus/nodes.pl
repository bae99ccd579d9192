# Promise: nodes come and go while a distributed stream is used. A node is added and gets shards, between steps and in the midst of steps and writers;
# it is emptied again; bills are those of the same stream on one node. A distributed stream goes back to one node, guards and all, and on; so does what
# a dump of the coordinator was restored to. meter.upgrade_stream() makes a distributed stream what it should be.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use PostgreSQL::Test::Utils;
use Test::More;

citus_or_skip();
my ($coordinator, @workers) = start_cluster('nodes', 'citus.max_cached_conns_per_worker = 1');
my $third = add_server('nodes_worker3');

my $now = '2024-03-05 20:00Z';

# $n events and measures from number $from on, in the hours before an instant.
sub rows_of
{
	my ($from, $n, $time) = @_;
	my $at = "'$time'::timestamptz - ((hashint4(i) & 4095) * 5) * interval '1 s'";
	return <<"SQL";
INSERT INTO cloud.event (source, id, "time", resource, account, action, offering, value)
SELECT 's', 'e' || i, $at, 'vm' || i % 150, 'account' || (i % 150) % 7, (ARRAY['start', 'stop', 'start', 'resize'])[1 + i % 4],
	(ARRAY['small', 'large'])[1 + (i / 3) % 2], i % 13 FROM generate_series($from, $from + $n - 1) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, value, attributes)
SELECT 's', 'm' || i, $at, $at + (i % 5000) * interval '1 s', 'vm' || i % 200, i % 1000, jsonb_build_object('zone', 'z' || i % 3) FROM generate_series($from, $from + $n - 1) i;
SQL
}

# Settles all that is due in both databases, and compares what it came to. When steps were made in between may differ: then revisions do, too.
sub settled
{
	my ($what) = @_;
	both("SET meter.now = '$now'; CALL meter.run('cloud')");
	alike($what);
	return;
}

sub alike
{
	my ($what) = @_;
	same('SELECT meter, count(*), md5(string_agg(concat_ws(\'|\', account, resource, dimensions, period_start, quantity), \';\' ORDER BY account, resource, dimensions::text, period_start)) FROM (
		SELECT meter, account, resource, dimensions, period_start, trim_scale(sum(quantity)) AS quantity FROM cloud.usage GROUP BY 1, 2, 3, 4, 5 HAVING sum(quantity) <> 0) u GROUP BY 1 ORDER BY 1', "$what: usage");
	same('SELECT meter, count(*), md5(string_agg(concat_ws(\'|\', account, dimensions, period_start, trim_scale(quantity)), \';\' ORDER BY account, period_start, dimensions_key)) FROM cloud.account_usage
		WHERE quantity <> 0 GROUP BY 1 ORDER BY 1', "$what: totals");
	is(sql("SELECT count(*) FROM meter.verify('cloud')"), '0', "$what: verify is empty");
	return;
}

sub error
{
	my ($script, $database) = @_;
	my ($stdout, $stderr);
	$coordinator->psql($database || 'cluster', quietly($script), stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
	return $stderr;
}

sub shards_of { return sql("SELECT count(*) FROM citus_shards WHERE table_name = 'cloud.event'::regclass AND nodeport = " . $_[0]->port); }

both(<<'SQL');
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering}', since => '2024-03-05 00:00Z');
SELECT meter.create_meter('cloud', 'weighted', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '1 hour');
SELECT meter.create_meter('cloud', 'counter', aggregate => 'counter', dimensions => '{zone}', period => '1 day');
SQL
sql('CREATE ROLE nodes_analyst; CREATE ROLE nodes_reader');
both("SELECT meter.grant_access('cloud', 'nodes_analyst', 'analyst'); GRANT SELECT ON cloud.event TO nodes_reader");
both(rows_of(1, 600, $now));
settled('one node');
sql("SELECT meter.distribute_stream('cloud', 6)");
both(rows_of(500, 200, $now));
settled('distributed');

# --- a node is added between steps ---

sql("SELECT citus_add_node('localhost', " . $third->port . ')');
is($third->safe_psql('cluster', "SELECT count(*) FROM pg_extension WHERE extname = 'meter'"), '1', 'the new node gets the extension');
sql("SELECT citus_rebalance_start(shard_transfer_mode => 'block_writes')");
sql('SELECT citus_rebalance_wait()');
is(shards_of($third), '2', 'and its part of the shards');
$now = '2024-03-05 23:00Z';
both(rows_of(800, 300, $now));
settled('a node more');

# --- shards are moved in the midst of steps and writers ---

my @written;
my @sessions;
foreach my $writer (1 .. 2)
{
	my $script = quietly('');
	foreach my $turn (1 .. 12)
	{
		my $rows = rows_of(1000 + 1000 * $writer + 25 * $turn, 25, '2024-03-06 02:00Z');
		$script  .= "BEGIN;\n${rows}COMMIT;\nSELECT pg_sleep(0.1);\n";
		push @written, $rows;
	}
	push @sessions, background($script);
}
push @sessions, background(quietly('') . join '', map { "SET meter.now = '2024-03-06 0" . int($_ / 4) . ":00Z';\nCALL meter.run('cloud');\nSELECT pg_sleep(0.2);\n" } 0 .. 11);
my $moves = 0;
foreach my $shard (split /\n/, sql("SELECT shardid FROM citus_shards WHERE table_name = 'cloud.event'::regclass AND nodeport <> " . $third->port))
{
	my $from = sql("SELECT nodeport FROM citus_shards WHERE shardid = $shard");
	my $error = error("SELECT citus_move_shard_placement($shard, 'localhost', $from, 'localhost', " . $third->port . ", 'block_writes')");
	is($error, '', "shard $shard is moved while rows come and are settled");
	$moves++;
}
is($moves, 4, 'four shards moved');
finish($_) foreach @sessions;
is(shards_of($third), '6', 'the new node has all of them');
is(sql('SELECT count(*) FROM cloud.event'), 1100 + 2 * 12 * 25, 'all rows were logged');
$coordinator->safe_psql('alone', quietly($_)) foreach @written;
$now = '2024-03-06 03:00Z';
settled('moved meanwhile');

# --- and the node is emptied again, and goes ---

sql("SELECT citus_drain_node('localhost', " . $third->port . ", 'block_writes')");
is(shards_of($third), '0', 'the node is empty');
sql("SELECT citus_remove_node('localhost', " . $third->port . ')');
$now = '2024-03-06 06:00Z';
both(rows_of(5000, 200, $now));
settled('a node less');

# --- a version with more tables ---

sql(<<'SQL');
UPDATE meter.stream SET shape = 0 WHERE name = 'cloud';
DROP TABLE cloud._voided;
DROP TABLE cloud._compared;
ALTER TABLE cloud.settlement DROP COLUMN detached_rows;
DROP INDEX cloud.usage_recorded_at;
DROP VIEW cloud.source_quality;
SQL
like(error("SET client_min_messages = warning; SELECT * FROM meter.advance('cloud')"), qr/made by an older version/, 'an older version');
is(sql("SELECT meter.upgrade_stream('cloud')"), 't', 'upgraded');
is(sql("SELECT count(*), count(*) FILTER (WHERE p.partmethod = 'h') FROM pg_dist_partition p WHERE logicalrelid IN ('cloud._voided'::regclass, 'cloud.event'::regclass)"), '2|2', 'a new table is distributed');
is(sql("SELECT count(*) FROM pg_trigger t JOIN pg_dist_partition p ON p.logicalrelid = t.tgrelid WHERE tgname LIKE 'guard%'"), '0', 'without triggers');
$now = '2024-03-06 09:00Z';
both(rows_of(5500, 200, $now) . q(INSERT INTO cloud.event (source, id, "time", resource, action) SELECT source, id, "time", resource, 'void' FROM cloud.event WHERE id IN ('e5501', 'e5503', 'e5505')));
settled('upgraded');

# --- a dump of the coordinator, taken while nobody writes, restored where there is no Citus ---

my $dump = "$PostgreSQL::Test::Utils::tmp_check/nodes.dump";
my $lock = $coordinator->background_psql('cluster');
$lock->query_safe('BEGIN; LOCK TABLE cloud.event, cloud.measure, cloud._shard IN SHARE MODE');
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $coordinator->connstr('cluster') ], 'dumped');
$lock->quit;
command_ok([ 'pg_restore', '-l', '-f', "$dump.all", $dump ], 'listed');
append_to_file("$dump.list", join '', grep { !/ EXTENSION .*citus| SCHEMA .*columnar/ } map { "$_\n" } split /\n/, slurp_file("$dump.all"));
$coordinator->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dump.list", '-d', $coordinator->connstr('restored'), $dump ], 'restored');
like(error("SELECT meter.resume('cloud')", 'restored'), qr/stream "cloud" was distributed, and table cloud.event is so no more.*meter\.undistribute_stream\('cloud'\)/s, 'what it says');
$coordinator->safe_psql('restored', quietly("SELECT meter.undistribute_stream('cloud'); SELECT meter.resume('cloud')"));

# --- back to one node ---

like(error("SELECT meter.undistribute_stream('none')"), qr/does not exist/, 'no such stream');
like(error("SET ROLE nodes_analyst; SELECT meter.undistribute_stream('cloud')"), qr/must be owner/, 'others may not');
like(error("SELECT meter.undistribute_stream('cloud')", 'alone'), qr/is not distributed/, 'one that is not distributed');

# by hand, a table at a time: as far as Citus lets anyone
sql("SELECT undistribute_table('cloud.usage')");
like(error("SET client_min_messages = warning; SET meter.now = '2024-03-06 10:00Z'; CALL meter.run('cloud')"), qr/table cloud.usage is so no more/, 'a table that was undistributed by hand');
my $ledger = q(SELECT count(*), md5(string_agg(u::text, ';' ORDER BY transaction_id)) FROM cloud.usage u);
my $before = sql($ledger);
sql("SELECT meter.undistribute_stream('cloud')");
is(sql('SELECT count(*) FROM pg_dist_partition'), '0', 'nothing is distributed');
is(sql($ledger), $before, 'the ledger is what it was');
foreach my $database (qw(cluster restored))
{
	my $shape = <<'SQL';
SELECT string_agg(what, E'\n' ORDER BY what COLLATE "C") FROM (
	SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || a.attidentity::text || a.attstorage::text || coalesce(col_description(c.oid, a.attnum), '') AS what
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relnamespace = 'cloud'::regnamespace AND c.relkind IN ('r', 'p')
	UNION ALL SELECT pg_get_indexdef(c.oid) FROM pg_class c WHERE c.relnamespace = 'cloud'::regnamespace AND c.relkind IN ('i', 'I')
	UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'cloud'::regnamespace
	UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'cloud'::regnamespace AND NOT tgisinternal
	UNION ALL SELECT p.proname || ' ' || p.prosrc FROM pg_proc p WHERE p.pronamespace = 'cloud'::regnamespace
	UNION ALL SELECT c.relname || ' ' || c.relkind::text || c.relreplident::text || coalesce(c.reloptions::text, '') || coalesce(obj_description(c.oid, 'pg_class'), '') || coalesce(pg_get_viewdef(c.oid), '')
		FROM pg_class c WHERE c.relnamespace = 'cloud'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
	UNION ALL SELECT c.relname || ' ' || (aclexplode(c.relacl)).grantee::regrole || ' ' || (aclexplode(c.relacl)).privilege_type FROM pg_class c WHERE c.relnamespace = 'cloud'::regnamespace AND c.relacl IS NOT NULL
		AND c.relname !~ '_[0-9]+$') s
SQL
	my %there = map { $_ => 1 } split /\n/, $coordinator->safe_psql($database, $shape);
	my %alone = map { $_ => 1 } split /\n/, $coordinator->safe_psql('alone', $shape);
	is(join("\n", grep { !$alone{$_} && !/ postgres / } sort keys %there), '', "$database: nothing is left that a stream of one node does not have");
	is(join("\n", grep { !$there{$_} } sort keys %alone), '', "$database: and nothing is missing");
}
like(error($_), qr/append-only|cannot be truncated|cannot insert into/, "guarded: $_")
  foreach 'DELETE FROM cloud.usage', 'UPDATE cloud.usage SET quantity = 0', 'TRUNCATE cloud.event', 'TRUNCATE cloud.held', q(INSERT INTO cloud.event_0 (arrival, "time", resource, action) VALUES (7, now(), 'r', 'start'));
$now = '2024-03-06 12:00Z';
my $more = rows_of(6000, 300, $now);
both($more);
$coordinator->safe_psql('restored', quietly("$more; SET meter.now = '$now'; CALL meter.run('cloud')"));
settled('one node again');
my $usage = 'SELECT meter, account, resource, dimensions, period_start, trim_scale(sum(quantity)) FROM cloud.usage GROUP BY 1, 2, 3, 4, 5 HAVING sum(quantity) <> 0 ORDER BY 1, 2, 3, 4, 5';
is($coordinator->safe_psql('restored', $usage), sql($usage), 'the restored stream goes on with the same usage');
is($coordinator->safe_psql('restored', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'and verify is empty');

# --- and over the nodes once more ---

sql("SELECT meter.distribute_stream('cloud', 3)");
$now = '2024-03-06 18:00Z';
both(rows_of(6500, 200, $now));
settled('distributed again');

done_testing();
