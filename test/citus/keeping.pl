# Promise: on a cluster snapshots are reconciled as on one node: the same observations are logged under the same arrivals, the same corrections returned,
# the same errors raised; ledger, totals, states and settlements are the same. Nothing of a snapshot is half done when a node fails.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use KeepingTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

citus_or_skip();
my ($coordinator, @workers) = start('keeping', 'citus.recover_2pc_interval = -1');

# --- a stream that has reconciled snapshots becomes a distributed one ---

create_streams();
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
both("SET meter.now = '2024-03-12 10:00Z'; CALL meter.run('cloud'); CALL meter.run('cloud')");
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

done_testing();
