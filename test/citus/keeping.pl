# Promise: on a cluster snapshots are reconciled, segments expired, and months detached and attached as on one node: the same observations are logged
# under the same arrivals, the same corrections returned, the same errors raised; ledger, totals, states and settlements are the same. Nothing of it is
# half done when a node fails.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

citus_or_skip();
my ($coordinator, @workers) = start_cluster('keeping', 'citus.recover_2pc_interval = -1');

# The errors of a script in both databases, without what says where they were raised.
sub same_error
{
	my ($script, $pattern, $name) = @_;
	my @errors = map {
		my ($stdout, $stderr);
		$coordinator->psql($_, quietly($script), stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
		$stderr =~ s/^psql:<stdin>:\d+: //mg;
		$stderr =~ s/^CONTEXT: .*//msg;
		$stderr
	} qw(cluster alone);
	like($errors[1], $pattern, $name);
	is($errors[0], $errors[1], "$name: the same error");
	return;
}

my @meters = (
	"'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', since => '2024-03-05 00:00Z', period => '3 hours', max_lateness => '5 days'",
	"'size', aggregate => 'weighted', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', period => '6 hours', lateness => '1 hour', max_lateness => '5 days'",
	"'alive', starts => '{start}', stops => '{stop}', changes => '{resize}', liveness => '2 hours', period => '1 day', dimensions => '{flavor}', max_lateness => '5 days'",
	"'bytes', aggregate => 'sum', dimensions => '{zone}', period => '6 hours', max_lateness => '5 days'",
	"'counter', aggregate => 'counter', dimensions => '{zone}', period => '1 day', max_lateness => '5 days'");

# $n events and measures from number $from on, within 36 hours of an instant.
sub load_rows
{
	my ($from, $n, $time) = @_;
	my $at = "'$time'::timestamptz + ((hashint4(i) & 65535) * 2) * interval '1 s'";
	both(<<"SQL");
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action, offering, value)
SELECT CASE i % 5 WHEN 0 THEN 'hall2' ELSE 'hall1' END, 'e' || i, $at, 'vm' || i % 60, 'account' || (i % 60) % 7, CASE i % 3 WHEN 0 THEN 'vm' END,
	(ARRAY['start', 'stop', 'start', 'resize'])[1 + i % 4], (ARRAY['small', 'large'])[1 + (i / 3) % 2], i % 13 FROM generate_series($from, $from + $n - 1) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, value, attributes)
SELECT 's', 'm' || i, $at, $at + (i % 5000) * interval '1 s', 'vm' || i % 40, i % 1000, jsonb_build_object('zone', 'z' || i % 3) FROM generate_series($from, $from + $n - 1) i;
SQL
	return;
}

# A snapshot of a source: some of what runs, some of what does not, and what nobody knows.
sub load_snapshot
{
	my ($source, $at, $part) = @_;
	both(<<"SQL");
INSERT INTO cloud.inventory (source, at, resource, account, entity, offering, value, since, attributes)
SELECT '$source', '$at', 'vm' || i, 'account' || (i + $part / 2) % 7, CASE i % 4 WHEN 0 THEN 'vm' END, (ARRAY['small', 'large', NULL])[1 + i % 3], i % 5,
	CASE i % 6 WHEN 0 THEN '$at'::timestamptz - (i % 100) * interval '20 min' END, CASE i % 8 WHEN 0 THEN '{"zone": null, "rack": 7}'::jsonb END
	FROM generate_series(0, 69) i WHERE i % 3 <> $part % 3 AND i % 7 <> $part % 7;
INSERT INTO cloud.inventory (source, at, resource, account, meter) SELECT '$source', '$at', 'vm' || i, 'account1', 'vm' FROM generate_series(72, 80) i;
SQL
	return;
}

my %columns = (
	usage => 'transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement',
	account_usage => 'meter, account, dimensions, period_start, quantity, dimensions_key',
	event => 'arrival, source, id, "time", resource, account, entity, action, offering, value, attributes',
	inventory => 'source, at, resource, account, entity, offering, value, since, meter, attributes',
	snapshot => 'source, at, rows, content, tolerance, running, starts, stops, changes, pruned',
	_compared => 'meter, source, at',
	settlement => 'meter, settlement, watermark, position, usage_rows, detached_rows, first_transaction_id, last_transaction_id',
	held => 'meter, log, arrival, "time", reason',
	quarantine => 'meter, resource, since, sqlstate, message',
	_retention => 'meter, log, "time", definition',
	_retention_reading => 'meter, hash, resource, series, dimensions, "time", value, start_time',
	_expired => 'log, segment, rows, first_arrival, last_arrival, least_time, greatest_time',
	_detached => 'month, month_end, rows');
$columns{$_} = 'meter, hash, resource, active, account, dimensions, value, since, alive, absent, source, started, holder, changed, ended, sign, gaps, billed, owners'
  foreach qw(_resource_state _retention_state);

# The number of rows of a table and a hash of them; each table of a stream that says something.
sub same_tables
{
	my ($what, @tables) = @_;
	my $query = join(' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(concat_ws('|', $columns{$_}), ';' ORDER BY concat_ws('|', $columns{$_}) COLLATE \"C\")) FROM cloud.$_" } @tables);
	return same("SET timezone = 'UTC'; $query ORDER BY 1", "$what: " . join(', ', @tables));
}

sub same_progress
{
	my ($what) = @_;
	same("SELECT name, watermark, settlement, running, states, failures, last_error FROM meter.meter WHERE stream = 'cloud' ORDER BY 1", "$what: progress");
	return;
}

# Settles all that is due at an instant, and compares everything.
sub settle
{
	my ($now, $what) = @_;
	both("SET meter.now = '$now'; CALL meter.run('cloud')");
	same_progress($what);
	same_tables($what, sort keys %columns);
	is(sql("SET meter.now = '$now'; SELECT count(*) FROM meter.verify('cloud')"), '0', "$what: verify is empty");
	return;
}

# Sets how much memory a resource may take, on all nodes.
sub set_memory
{
	my ($size) = @_;
	foreach my $node ($coordinator, @workers)
	{
		$node->safe_psql('postgres', "ALTER SYSTEM SET meter.resource_memory = '$size'");
		$node->reload;
	}
	return;
}

# Reconciles a snapshot in both databases. The corrections are the same, in the same order.
sub reconcile
{
	my ($source, $at, $now, $more) = @_;
	my $what = "snapshot of $source at $at" . ($more // '');
	my $call = "meter.reconcile('cloud', '$source', '$at', max_stops => 1000" . ($more // '') . ')';
	my $corrections = same("SET meter.now = '$now'; SELECT * FROM $call", "$what: corrections");
	same_tables($what, 'event', 'snapshot', '_compared');
	return scalar(split /\n/, $corrections);
}

# --- a stream that has reconciled snapshots becomes a distributed one ---

both("SELECT meter.create_stream('cloud'); " . join('', map { "SELECT meter.create_meter('cloud', $_);\n" } @meters));
load_rows(1, 600, '2024-03-05 00:00Z');
settle('2024-03-06 20:00Z', 'one node');
load_snapshot('hall1', '2024-03-06 10:00Z', 1);
cmp_ok(reconcile('hall1', '2024-03-06 10:00Z', '2024-03-06 20:00Z'), '>', 10, 'one node: something is corrected');
sql("SELECT meter.distribute_stream('cloud', 5)");
settle('2024-03-06 20:00Z', 'distributed');
is(reconcile('hall1', '2024-03-06 10:00Z', '2024-03-06 20:00Z'), 0, 'the same snapshot again');

# --- snapshots of a distributed stream ---

load_snapshot('hall2', '2024-03-06 12:00Z', 2);
cmp_ok(reconcile('hall2', '2024-03-06 12:00Z', '2024-03-06 20:00Z', ', dry_run => true'), '>', 10, 'dry run: something would be corrected');
cmp_ok(reconcile('hall2', '2024-03-06 12:00Z', '2024-03-06 20:00Z'), '>', 10, 'something is corrected');
settle('2024-03-06 20:00Z', 'reconciled');

# at the watermark and after it, with late rows that no step has read, in one transaction
load_rows(500, 300, '2024-03-06 00:00Z');
load_snapshot('hall1', '2024-03-07 12:00Z', 3);
load_snapshot('hall2', '2024-03-07 13:00Z', 4);
same("SET meter.now = '2024-03-07 18:00Z'; BEGIN; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-07 12:00Z', max_stops => 1000);
	SELECT * FROM meter.reconcile('cloud', 'hall2', '2024-03-07 13:00Z', max_stops => 1000, tolerance => '10 minutes'); COMMIT", 'two at once: corrections');
settle('2024-03-07 18:00Z', 'two at once');
load_snapshot('hall1', '2024-03-08 02:00Z', 5);
reconcile('hall1', '2024-03-08 02:00Z', '2024-03-08 03:00Z');
settle('2024-03-08 06:00Z', 'after the watermark');

# rows from before what snapshots have said, voids of rows, and a new meter: the comparison is made again
load_rows(900, 300, '2024-03-06 06:00Z');
both(<<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, action) SELECT CASE i % 5 WHEN 0 THEN 'hall2' ELSE 'hall1' END, 'e' || i,
	'2024-03-05 00:00Z'::timestamptz + ((hashint4(i) & 65535) * 2) * interval '1 s', 'vm' || i % 60, 'void' FROM generate_series(1, 600, 37) i;
SQL
settle('2024-03-08 09:00Z', 'late rows and voids');
both("SELECT meter.create_meter('cloud', 'runs', aggregate => 'runs', starts => '{start}', stops => '{stop}', period => '1 day', max_lateness => '5 days')");
settle('2024-03-08 10:00Z', 'a new meter');

# rows that are held, and released
settle('2024-03-12 10:00Z', 'before rows are held');
both(q(INSERT INTO cloud.event (source, id, "time", resource, account, action) SELECT 'hall1', 'h' || i, '2024-03-05 07:00Z', 'vm' || i, 'account3', 'start' FROM generate_series(1, 60, 2) i));
settle('2024-03-12 12:00Z', 'rows held');
cmp_ok(sql('SELECT count(*) FROM cloud.held'), '>', 20, 'rows are held');
same("SET meter.now = '2024-03-12 12:00Z'; SELECT meter.release('cloud', 'vm'), meter.discard('cloud', 'runs'),
	meter.release('cloud', 'size', (SELECT array_agg(arrival) FROM (SELECT arrival FROM cloud.held WHERE meter = 'size' ORDER BY arrival LIMIT 20) h))", 'released');
settle('2024-03-12 12:00Z', 'released');
same("SET meter.now = '2024-03-12 12:00Z'; SELECT meter.rewind('cloud', 'vm', '2024-03-08 00:00Z')", 'rewound');
settle('2024-03-12 12:00Z', 'rewound');

# --- what is refused is refused alike ---

my $now = "SET meter.now = '2024-03-12 12:00Z'";
same_error("$now; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-10 00:00Z')", qr/has no rows/, 'an empty snapshot');
both("INSERT INTO cloud.inventory (source, at, resource) VALUES ('hall1', '2024-03-10 00:00Z', 'vm1')");
same_error("$now; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-10 00:00Z')", qr/would stop/, 'too many stops');
both("INSERT INTO cloud.inventory (source, at, resource) VALUES ('hall1', '2024-03-10 00:00Z', 'vm1')");
same_error("$now; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-10 00:00Z')", qr/is in the snapshot twice/, 'twice');
both("DELETE FROM cloud.inventory WHERE at = '2024-03-10 00:00Z'; INSERT INTO cloud.inventory (source, at, resource, account) VALUES ('hall1', '2024-03-08 02:00Z', 'more', NULL)");
same_error("$now; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-08 02:00Z')", qr/was reconciled with other rows/, 'other rows');
both("DELETE FROM cloud.inventory WHERE resource = 'more'");
both("CREATE TABLE public.gone AS SELECT * FROM cloud.inventory WHERE at = '2024-03-08 02:00Z' AND resource = 'vm3'; DELETE FROM cloud.inventory WHERE at = '2024-03-08 02:00Z' AND resource = 'vm3'");
load_snapshot('hall1', '2024-03-11 00:00Z', 6);
same_error("$now; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-11 00:00Z', max_stops => 1000)", qr/are missing in cloud.inventory/, 'rows are missing');
both('INSERT INTO cloud.inventory SELECT * FROM public.gone; DROP TABLE public.gone');
same_tables('after errors', 'event', 'snapshot', '_compared', 'inventory');
reconcile('hall1', '2024-03-11 00:00Z', '2024-03-12 12:00Z');
settle('2024-03-12 13:00Z', 'after errors');

# --- a node is killed while a snapshot is reconciled: nothing is half done ---

foreach my $round (1 .. 4)
{
	my $node = $workers[ $round % 2 ];
	my $at = "2024-03-12 0$round:00Z";
	load_snapshot('hall2', $at, 10 + $round);
	my $before = sql('SELECT count(*) FROM cloud.event');
	my $session = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $coordinator->connstr('cluster'), '-c', "SET meter.now = '2024-03-12 13:00Z'", '-c', "SELECT count(*) FROM meter.reconcile('cloud', 'hall2', '$at', max_stops => 1000)" ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	sleep(0.05 + rand(0.3));
	$node->kill9;
	$session->finish;
	sleep(0.2) while -e $node->data_dir . '/postmaster.pid' && kill(0, (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0]);
	$node->start;
	sql('SELECT recover_prepared_transactions()');
	my ($done) = sql("SELECT count(*) FROM cloud.snapshot WHERE source = 'hall2' AND at = '$at'");
	my $logged = sql('SELECT count(*) FROM cloud.event') - $before;
	ok($done == 1 || $logged == 0, "killed, round $round: a snapshot that is not reconciled has logged nothing ($logged)");
	# arrivals that were drawn in vain are gone
	both("SET meter.now = '2024-03-12 13:00Z'; SELECT count(*) FROM meter.reconcile('cloud', 'hall2', '$at', max_stops => 1000)");
	is(sql("SELECT count(*) FROM cloud.snapshot WHERE source = 'hall2' AND at = '$at'"), '1', "killed, round $round: reconciled");
}
$columns{$_} =~ s/arrival, // foreach qw(event held);
$columns{settlement} =~ s/position, //;
$columns{_expired} =~ s/first_arrival, last_arrival, //;
settle('2024-03-12 13:00Z', 'after failures');

# --- a snapshot that was loaded through another node ---

$workers[0]->safe_psql('cluster', "INSERT INTO cloud.inventory (source, at, resource, account) SELECT 'hall1', '2024-03-12 11:00Z', 'vm' || i, 'account1' FROM generate_series(1, 60) i");
$coordinator->safe_psql('alone', "INSERT INTO cloud.inventory (source, at, resource, account) SELECT 'hall1', '2024-03-12 11:00Z', 'vm' || i, 'account1' FROM generate_series(1, 60) i");
same("SET meter.now = '2024-03-12 13:00Z'; SELECT * FROM meter.reconcile('cloud', 'hall1', '2024-03-12 11:00Z', max_stops => 1000)", 'loaded through another node');
settle('2024-03-12 13:00Z', 'loaded through another node');

# --- snapshots that nothing needs any more ---

same("SELECT meter.prune_inventory('cloud', '2024-03-08 00:00Z')", 'pruned');
settle('2024-03-12 14:00Z', 'pruned');

# --- old segments are expired ---

same("SELECT meter.roll('cloud')", 'rolled');
load_rows(5000, 400, '2024-03-13 00:00Z');
both(<<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, account, action, attributes) SELECT 'hall1', 'huge' || i, '2024-03-14'::timestamptz + i * interval '1 min', 'huge', 'account1',
	CASE i WHEN 1 THEN 'start' ELSE 'resize' END, jsonb_build_object('flavor', repeat('x' || i, 20000)) FROM generate_series(1, 3) i;
SQL
settle('2024-03-16 00:00Z', 'segments');
same("SET meter.now = '2024-03-16 00:00Z'; SELECT meter.expire('cloud', '2024-03-05 00:00Z')", 'nothing to expire yet');
settle('2024-03-25 00:00Z', 'before expiry');
set_memory('64kB');
is(same("SET meter.now = '2024-03-25 00:00Z'; SELECT meter.expire('cloud', '2024-03-19 00:00Z')", 'a state that cannot be computed'), '0', 'a state that cannot be computed: nothing is expired');
set_memory('1GB');
is(same('SELECT meter, resource FROM cloud.quarantine', 'a state that cannot be computed: set aside'), 'alive|huge', 'a state that cannot be computed: the resource is set aside');
same_tables('a state that cannot be computed', '_retention', '_retention_state', 'quarantine');
same("SET meter.now = '2024-03-25 00:00Z'; SELECT meter.release_resource('cloud', 'alive', 'huge')", 'the resource is released');
settle('2024-03-25 00:00Z', 'the resource is released');
is(same("SET meter.now = '2024-03-25 00:00Z'; SELECT meter.expire('cloud', '2024-03-19 00:00Z')", 'expired'), '2', 'segments are expired');
settle('2024-03-25 00:00Z', 'expired');
same("SELECT log, segment, state, rows FROM meter.log_segments('cloud')", 'expired: segments');
cmp_ok(sql('SELECT count(*) FROM cloud._retention_state'), '>', 50, 'states are kept');
cmp_ok(sql('SELECT count(*) FROM cloud._retention_reading'), '>', 10, 'readings are kept');
load_rows(5300, 300, '2024-03-24 00:00Z');
load_rows(6000, 50, '2024-03-06 00:00Z');
load_snapshot('hall1', '2024-03-25 00:00Z', 20);
cmp_ok(reconcile('hall1', '2024-03-25 00:00Z', '2024-03-27 00:00Z'), '>', 10, 'after expiry something is corrected');
settle('2024-03-27 00:00Z', 'after expiry');

# meters begin at the boundary: one that was there, one that was not, one of measures that takes its owners from another
both("SELECT meter.drop_meter('cloud', 'vm'), meter.drop_meter('cloud', 'counter'); SELECT meter.create_meter('cloud', $meters[0]), meter.create_meter('cloud', $meters[4]),
	meter.create_meter('cloud', 'peak', aggregate => 'max', dimensions => '{}', period => '1 day', max_lateness => '5 days'), meter.create_meter('cloud', 'young', starts => '{start}', stops => '{stop}', period => '1 day', since => '2024-03-20 00:00Z', max_lateness => '5 days')");
settle('2024-03-27 01:00Z', 'meters that begin at the boundary');

# --- months are detached and attached ---

load_rows(7000, 300, '2024-04-10 00:00Z');
settle('2024-04-20 00:00Z', 'another month');
same("SET meter.now = '2024-04-20 00:00Z'; SELECT * FROM meter.detach_usage('cloud', '2024-04-01 00:00Z')", 'a month is held back');
settle('2024-04-20 01:00Z', 'before a month is detached');
is(same("SET meter.now = '2024-04-20 01:00Z'; SELECT * FROM meter.detach_usage('cloud', '2024-04-01 00:00Z')", 'detached'), '2024-03-01 00:00:00+00|t|', 'a month is detached');
same("SELECT count(*), md5(string_agg(concat_ws('|', $columns{usage}), ';' ORDER BY transaction_id)) FROM cloud.usage_2024_03", 'detached: the table');
settle('2024-04-20 01:00Z', 'detached');
load_rows(7200, 200, '2024-03-20 00:00Z');
load_rows(7400, 200, '2024-04-15 00:00Z');
settle('2024-04-20 02:00Z', 'rows after a month was detached');
both("CREATE TABLE public.saved AS SELECT * FROM cloud.usage_2024_03 WHERE meter = 'vm' AND resource = 'vm5'; DELETE FROM cloud.usage_2024_03 WHERE meter = 'vm' AND resource = 'vm5'");
same_error("SELECT meter.attach_usage('cloud', '2024-03-15 00:00Z')", qr/does not have the rows that it had/, 'a month that has lost rows');
both('INSERT INTO cloud.usage_2024_03 SELECT * FROM public.saved; DROP TABLE public.saved');
same("SELECT meter.attach_usage('cloud', '2024-03-15 00:00Z')", 'attached');
settle('2024-04-20 02:00Z', 'attached');

# --- a stream with a boundary, and with a month that is detached, becomes a distributed one ---

$coordinator->safe_psql('cluster', quietly("SELECT meter.drop_stream('cloud', delete_data => true)"));
$coordinator->safe_psql('alone', quietly("SELECT meter.drop_stream('cloud', delete_data => true)"));
both("SELECT meter.create_stream('cloud'); " . join('', map { "SELECT meter.create_meter('cloud', $_);\n" } @meters));
$columns{$_} =~ s/^(.*)$/arrival, $1/ foreach qw(event);
load_rows(1, 500, '2024-02-27 00:00Z');
settle('2024-03-06 20:00Z', 'anew');
same("SELECT meter.roll('cloud')", 'anew: rolled');
load_rows(450, 500, '2024-03-11 00:00Z');
settle('2024-03-20 20:00Z', 'anew, rolled');
is(same("SET meter.now = '2024-03-20 20:00Z'; SELECT meter.expire('cloud', '2024-03-11 00:00Z'); SELECT * FROM meter.detach_usage('cloud', '2024-03-01 00:00Z')", 'anew: expired and detached'),
	"2\n2024-02-01 00:00:00+00|t|", 'anew: segments and a month are gone');
sql("SELECT meter.distribute_stream('cloud', 4)");
settle('2024-03-20 20:00Z', 'anew, distributed');
load_rows(1000, 200, '2024-03-18 00:00Z');
load_rows(1800, 30, '2024-02-27 00:00Z');
settle('2024-03-21 20:00Z', 'anew, and goes on');
same("SELECT meter.attach_usage('cloud', '2024-02-15 00:00Z')", 'a month from before is attached');
settle('2024-03-21 21:00Z', 'a month from before is attached');
is(sql("SELECT count(*) FROM citus_shards WHERE table_name = 'cloud._usage_2024_02'::regclass"), '4', 'and distributed');

done_testing();
