# Promise: on a cluster segments are expired, and months detached and attached, as on one node: the same is known at the retention boundary, the same rows
# are held, meters begin there alike, and the ledger, totals and settlements are the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use KeepingTest;
use Test::More;

citus_or_skip();
my ($coordinator, @workers) = start('retention');

create_streams();
load_rows(1, 400, '2024-03-05 00:00Z');
load_snapshot('hall1', '2024-03-06 10:00Z', 1);
both("SET meter.now = '2024-03-06 20:00Z'; CALL meter.run('cloud')");
sql("SELECT meter.distribute_stream('cloud', 4)");
reconcile('hall1', '2024-03-06 10:00Z', '2024-03-06 20:00Z');
settle('2024-03-08 00:00Z', 'the beginning');

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
set_memory(undef);
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
# the guard of a month that is detached is in the way, where there is one
my $unguarded = 'SET session_replication_role = replica';
both("$unguarded; CREATE TABLE public.saved AS SELECT * FROM cloud.usage_2024_03 WHERE meter = 'vm' AND resource = 'vm5'; DELETE FROM cloud.usage_2024_03 WHERE meter = 'vm' AND resource = 'vm5'");
same_error("SELECT meter.attach_usage('cloud', '2024-03-15 00:00Z')", qr/does not have the rows that it had/, 'a month that has lost rows');
both("$unguarded; INSERT INTO cloud.usage_2024_03 SELECT * FROM public.saved; DROP TABLE public.saved");
same("SELECT meter.attach_usage('cloud', '2024-03-15 00:00Z')", 'attached');
settle('2024-04-20 02:00Z', 'attached');

# --- a stream with a boundary, and with a month that is detached, becomes a distributed one ---

$coordinator->safe_psql('cluster', quietly("SELECT meter.drop_stream('cloud', delete_data => true)"));
$coordinator->safe_psql('alone', quietly("SELECT meter.drop_stream('cloud', delete_data => true)"));
create_streams();
load_rows(1, 500, '2024-02-27 00:00Z');
settle('2024-02-29 20:00Z', 'anew');
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
