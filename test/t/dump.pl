# Promise: a dump carries everything; a restored database acts only when it is told to, and then goes on where the dump was. Logs and ledger
# are the user's: without the extension they are still there, and with it made again nothing is billed twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('dump');
my $dump = $node->basedir . '/dump';
my $make_meter = "SELECT FROM meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');";

# Events of a morning: settled up to 12:00; then some that are late, and some that are not settled yet.
my $ledger = q{SELECT md5(string_agg(t::text, ';' ORDER BY transaction_id)) FROM (SELECT transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement FROM cloud.usage) t};
my $before = answers($node, <<"SQL");
SELECT FROM meter.create_stream('cloud', '2 days');
$make_meter
SELECT FROM meter.create_meter('cloud', 'disk', aggregate => 'weighted', entity => 'disk', starts => '{start}', stops => '{stop}', clock => 'event',
	lateness => '10 minutes', dimensions => '{zone}', timezone => 'Asia/Kolkata', period => '1 day', until => '2024-03-05 18:30Z');
INSERT INTO cloud.event ("time", resource, account, entity, action, offering, value, attributes)
	SELECT '2024-03-05 09:00Z'::timestamptz + n * interval '3 minutes', 'r' || n % 13, 'a' || n % 3, CASE n % 2 WHEN 0 THEN 'vm' ELSE 'disk' END,
		CASE WHEN n % 5 < 3 THEN 'start' ELSE 'stop' END, 'm' || n % 2, n % 4, jsonb_build_object('zone', n % 3)
	FROM generate_series(1, 60) n;
SET meter.now = '2024-03-05 12:00Z';
CALL meter.run('cloud');
SELECT FROM meter.heartbeat('cloud', 'api', '2024-03-05 11:00Z');
SELECT FROM meter.set_source('cloud', 'spare', NULL);
INSERT INTO cloud.event ("time", resource, action) VALUES ('2024-03-05 11:17Z', 'r1', 'stop'), ('2024-03-05 12:10Z', 'r2', 'start');
SET client_min_messages = error;
SET meter.on_bad_event = divert;
INSERT INTO cloud.inbox VALUES ('{"what":"ever"}');
INSERT INTO cloud.measure_inbox VALUES ('{"whatever":"else"}');
SELECT 'rejected', string_agg(raw, ' ' ORDER BY rejection) FROM cloud.rejected;
SELECT 'ledger', ($ledger);
SELECT 'rows', count(*) FROM cloud.usage;
SELECT 'meters', string_agg(m::text || ' ' || p::text, ' ' ORDER BY name, log) FROM meter.meter m JOIN meter.log_progress p ON p.stream = m.stream AND p.meter = m.name;
SELECT 'streams', string_agg(s::text, ' ' ORDER BY name) FROM meter.stream s;
SELECT 'sources', string_agg(s::text, ' ' ORDER BY source) FROM meter.source s;
SQL
cmp_ok($before->{rows}, '>', 20, 'there is a ledger to dump');

$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');

my $restored = answers($node, <<"SQL", 'restored');
SELECT 'ledger', ($ledger);
SELECT 'meters', string_agg(m::text || ' ' || p::text, ' ' ORDER BY name, log) FROM meter.meter m JOIN meter.log_progress p ON p.stream = m.stream AND p.meter = m.name;
SELECT 'streams', string_agg(s::text, ' ' ORDER BY name) FROM meter.stream s;
SELECT 'sources', string_agg(s::text, ' ' ORDER BY source) FROM meter.source s;
SELECT 'active', count(*) FROM meter.active_stream;
SELECT 'rejected', string_agg(raw, ' ' ORDER BY rejection) FROM cloud.rejected;
SELECT n, string_agg(tgname, ' ' ORDER BY tgname) FROM unnest(ARRAY['inbox', 'measure_inbox']) n JOIN pg_trigger ON tgrelid = ('cloud.' || n)::regclass GROUP BY n;
SELECT 'status', bool_or(active) FROM meter.status WHERE stream = 'cloud';
SET meter.now = '2024-03-05 14:00Z';
SELECT 'advance all', count(*) FROM meter.advance();
CALL meter.run();
SELECT 'untouched', ($ledger);
SQL
is($restored->{$_}, $before->{$_}, "restored: the same $_") foreach ('ledger', 'meters', 'streams', 'sources');
is($restored->{rejected}, $before->{rejected}, 'and so is what was rejected');
is($restored->{$_}, 'collect refuse refuse_row store', "the $_ is there, with its triggers") foreach ('inbox', 'measure_inbox');
is($restored->{active}, 0,   'no stream is active');
is($restored->{status}, 'f', 'and meter.status says so');
is($restored->{'advance all'}, 0, 'advance finds nothing to do');
is($restored->{untouched}, $before->{ledger}, 'the ledger is as it was');
my ($code, $stdout, $stderr) = $node->psql('restored', "SELECT * FROM meter.advance('cloud')");
is($code, 3, 'a stream that sleeps is not settled when it is named, either');
like($stderr, qr/meter\.resume/, 'and the message says what to do');

# Both go on, the restored one after being told to, with the same further events.
my $go_on = <<"SQL";
INSERT INTO cloud.inbox VALUES ('{"time":"2024-03-05T13:20:00Z","resource":"r3","account":"a7","action":"start"}');
INSERT INTO cloud.measure_inbox VALUES ('{"time":"2024-03-05T13:20:00Z","resource":"r3","account":"a7","value":7}');
SELECT 'measured', value FROM cloud.measure WHERE resource = 'r3' AND start_time = '2024-03-05 13:20Z';
SET meter.now = '2024-03-05 14:00Z';
CALL meter.run('cloud');
SELECT 'ledger', ($ledger);
SELECT 'arrivals', count(DISTINCT arrival) = count(*) AND max(arrival) = (SELECT arrival FROM cloud.event WHERE resource = 'r3' AND account = 'a7' AND "time" = '2024-03-05 13:20Z')
	FROM cloud.event;
SELECT 'verify', count(*) FROM meter.verify('cloud');
SELECT 'settlements', count(*) FROM (SELECT meter FROM cloud.usage GROUP BY meter HAVING count(DISTINCT settlement) <> max(settlement)) q;
SELECT 'adjusted', count(*) > 0 FROM cloud.usage WHERE revision > 0;
SELECT 'errors', count(last_error) FROM meter.status;
SQL
my $here  = answers($node, $go_on);
my $there = answers($node, "SELECT meter.resume('cloud');\n$go_on", 'restored');
foreach ([ 'the original', $here ], [ 'the restored one', $there ])
{
	my ($which, $said) = @$_;
	isnt($said->{ledger}, $before->{ledger}, "$which goes on");
	is($said->{verify},      0,   "$which: verify is empty");
	is($said->{settlements}, 0,   "$which: settlements are numbered without gaps");
	is($said->{adjusted},    't', "$which: the late row led to adjustments");
	is($said->{arrivals},    't', "$which: arrivals are numbered on");
	is($said->{errors},      0,   "$which: no errors");
	is($said->{measured},    7,   "$which: measures come in");
}
is($there->{ledger}, $here->{ledger}, 'and both have the same ledger');

# Without the extension.
($code, $stdout, $stderr) = $node->psql('postgres', 'DROP EXTENSION meter');
is($code, 3, 'DROP EXTENSION alone is refused: there are views that depend on it');
my $without = answers($node, <<"SQL");
DROP EXTENSION meter CASCADE;
SELECT 'ledger', ($ledger);
SELECT 'events', count(*) FROM cloud.event;
SELECT 'rejected', string_agg(raw, ' ' ORDER BY rejection) FROM cloud.rejected;
SELECT 'inbox', to_regclass('cloud.inbox') IS NULL AND to_regclass('cloud.measure_inbox') IS NULL;
INSERT INTO cloud.event ("time", resource, action) VALUES ('2024-03-05 13:40Z', 'r3', 'stop');
SELECT 'one more', count(*) FROM cloud.event;
SQL
is($without->{ledger}, $here->{ledger}, 'DROP EXTENSION … CASCADE leaves the ledger');
is($without->{events}, 63, 'and the log');
is($without->{rejected}, $before->{rejected}, 'and what was rejected');
is($without->{inbox}, 't', 'and takes the inboxes along');
is($without->{'one more'}, 64, 'which still takes events');
foreach my $statement ('UPDATE cloud.usage SET quantity = 0', 'DELETE FROM cloud.usage', 'TRUNCATE cloud.usage', 'TRUNCATE cloud.event')
{
	($code, $stdout, $stderr) = $node->psql('postgres', $statement);
	is($code, 3, "and is still guarded: $statement");
}

# And with it again.
my $again = answers($node, <<"SQL");
CREATE EXTENSION meter;
CREATE TABLE old AS SELECT * FROM cloud.usage;
SELECT FROM meter.create_stream('cloud', '2 days');
$make_meter
SET meter.now = '2024-03-05 14:00Z';
CALL meter.run('cloud');
SELECT 'verify', count(*) FROM meter.verify('cloud');
SELECT 'new', string_agg(format('%s %s %s', to_char(period_start AT TIME ZONE 'UTC', 'HH24:MI'), resource, trim_scale(quantity)), '; ') FROM cloud.usage WHERE transaction_id NOT IN (SELECT transaction_id FROM old);
SELECT 'old', count(*) FROM (SELECT * FROM old EXCEPT SELECT * FROM cloud.usage) q;
SELECT 'settlements', count(DISTINCT settlement) = max(settlement) FROM cloud.usage WHERE meter = 'vm';
SET meter.now = '2024-03-05 15:00Z';
CALL meter.run('cloud');
SELECT 'verify later', count(*) FROM meter.verify('cloud');
SELECT 'usage later', count(*) > 0 FROM cloud.usage WHERE period_start = '2024-03-05 14:00Z';
SELECT 'views', count(*) FROM cloud.usage_total;
SQL
is($again->{verify}, 0, 'created again: verify is empty');
is($again->{old}, 0, 'no row of the ledger has changed');
is($again->{new}, '13:00 r3 -20', 'the event of the meantime is the only difference');
is($again->{settlements}, 't', 'settlements are numbered on');
is($again->{'verify later'}, 0, 'and it goes on');
is($again->{'usage later'}, 't', 'with further usage');
ok($again->{views}, 'the views are back');

$node->stop;
done_testing();
