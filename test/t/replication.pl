# Promise: a subscriber that gets the logs and the snapshots of a stream computes the ledger of its publisher, row for row, whatever comes late, twice
# or is taken back; and both say the same of it. One that gets observations without their snapshots says so, and bills nothing otherwise.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %node;
foreach my $name ('publisher', 'subscriber', 'partial')
{
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', <<'CONF');
fsync = off
autovacuum = off
jit = off
timezone = 'UTC'
shared_preload_libraries = 'meter'
meter.enabled = off
CONF
	$node->start;
	$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 00:00Z', max_lateness => '2 days');
SELECT meter.create_meter('cloud', 'cores', aggregate => 'weighted', unit => '1 second', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0', since => '2024-03-05 00:00Z', max_lateness => '2 days');
SELECT meter.create_meter('cloud', 'traffic', aggregate => 'sum', entity => 'ip', lateness => '0', since => '2024-03-05 00:00Z', max_lateness => '2 days');
SELECT meter.create_meter('cloud', 'octets', aggregate => 'counter', entity => 'port', lateness => '0', since => '2024-03-05 00:00Z', max_lateness => '2 days');
SQL
	$node{$name} = $node;
}
my ($publisher, $subscriber, $partial) = @node{qw(publisher subscriber partial)};

# All columns but the arrival, which each side numbers for itself.
sub publication
{
	my ($name, @tables) = @_;
	my @columns = map {
		$publisher->safe_psql('postgres', "SELECT format('cloud.%I (%s)', '$_', string_agg(quote_ident(attname), ', ' ORDER BY attnum))
			FROM pg_attribute WHERE attrelid = 'cloud.$_'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'arrival'")
	} @tables;
	$publisher->safe_psql('postgres',
		"CREATE PUBLICATION $name FOR TABLE " . join(', ', @columns) . " WITH (publish = 'insert', publish_via_partition_root = true)");
}

sub settle
{
	my ($node, $time) = @_;
	$node->safe_psql('postgres', "LOAD 'meter'; SET meter.now = '$time'; CALL meter.run('cloud'); CALL meter.run('cloud')");
}

sub follow
{
	my ($time) = @_;
	settle($publisher, $time);
	$publisher->wait_for_catchup('everything');
	settle($subscriber, $time);
}

# What each row of usage says, whatever settlements and revisions it took to get there.
my $totals = "SELECT string_agg(u::text, E'\\n' ORDER BY u::text) FROM (SELECT meter, account, resource, dimensions, period_start, trim_scale(quantity) AS quantity
	FROM cloud.usage_total WHERE quantity <> 0) u";
my $verify = "SELECT count(*) FROM meter.verify('cloud')";

sub same
{
	my ($what) = @_;
	my $expected = $publisher->safe_psql('postgres', $totals);
	cmp_ok(length($expected), '>', 100, "$what: the publisher has usage");
	is($subscriber->safe_psql('postgres', $totals), $expected, "$what: the subscriber has the same");
	is($_->safe_psql('postgres', $verify), '0', "$what: verify is empty on the " . $_->name) foreach ($publisher, $subscriber);
	is($subscriber->safe_psql('postgres', "SELECT count(*) FROM meter.status WHERE last_error IS NOT NULL"), '0', "$what: no meter fails");
}

# What is there before anybody subscribes comes with the first copy.
$publisher->safe_psql('postgres', <<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action, offering, value)
SELECT 'a', 'start-' || i, '2024-03-05 00:00Z'::timestamptz + i * interval '7 minutes', 'vm-' || i, 'acme-' || i % 3, 'vm', 'start', 'small', 1 + i % 4 FROM generate_series(1, 40) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, entity, value)
SELECT 'm', 'm-' || i, '2024-03-05 00:00Z'::timestamptz + i * interval '11 minutes', '2024-03-05 00:11Z'::timestamptz + i * interval '11 minutes', 'ip-' || i % 5, 'acme-' || i % 2, 'ip', i FROM generate_series(1, 30) i;
SQL
publication('everything', qw(event measure inventory snapshot));
publication('logs_alone', qw(event measure));
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '$connection application_name=everything' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($publisher, 'everything');
$partial->safe_psql('postgres', "CREATE SUBSCRIPTION logs_alone CONNECTION '$connection application_name=logs_alone' PUBLICATION logs_alone");
$partial->wait_for_subscription_sync($publisher, 'logs_alone');
follow('2024-03-05 06:30Z');
same('the first copy');

# Then rows as they come: stops, resizes, a batch sent twice, late rows, one taken back, readings of a counter that drops.
$publisher->safe_psql('postgres', <<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action, offering, value)
SELECT 'a', 'resize-' || i, '2024-03-05 06:40Z'::timestamptz + i * interval '1 minute', 'vm-' || i, NULL, 'vm', 'resize', 'large', 8 FROM generate_series(1, 40, 4) i;
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action) SELECT 'a', 'stop-' || i, '2024-03-05 07:10Z'::timestamptz - i * interval '1 minute', 'vm-' || i, NULL, 'vm', 'stop' FROM generate_series(1, 40, 3) i;
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action) SELECT 'a', 'stop-' || i, '2024-03-05 07:10Z'::timestamptz - i * interval '1 minute', 'vm-' || i, NULL, 'vm', 'stop' FROM generate_series(1, 40, 3) i;
INSERT INTO cloud.event (source, id, "time", resource, entity, action) VALUES ('a', 'stop-4', '2024-03-05 07:06Z', 'vm-4', 'vm', 'void'), ('a', 'late', '2024-03-05 01:20Z', 'vm-2', 'vm', 'stop');
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, entity, value)
VALUES ('m', 'late', '2024-03-05 01:30Z', '2024-03-05 04:00Z', 'ip-1', NULL, 'ip', 5000), ('m', 'm-3', '2024-03-05 00:33Z', '2024-03-05 00:44Z', 'ip-3', 'acme-1', 'ip', 3);
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, entity, value)
SELECT 'c', 'c-' || i, '2024-03-05 00:00Z'::timestamptz + i * interval '20 minutes', '2024-03-05 00:00Z'::timestamptz + i * interval '20 minutes', 'port-1', 'acme-1', 'port', i * 1000 % 7000 FROM generate_series(1, 24) i;
SQL
follow('2024-03-05 08:30Z');
same('rows as they come');

# A snapshot ends what was lost, begins what was never told, and its observations go over with it.
$publisher->safe_psql('postgres', <<'SQL');
INSERT INTO cloud.inventory (source, at, resource, account, entity, offering, value, since)
SELECT 'a', '2024-03-05 09:15Z'::timestamptz, 'vm-' || i, 'acme-' || i % 3, 'vm', CASE WHEN i % 4 = 1 THEN 'large' ELSE 'small' END, CASE WHEN i % 4 = 1 THEN 8 ELSE 1 + i % 4 END, NULL::timestamptz FROM generate_series(5, 40, 3) i
UNION ALL SELECT 'a', '2024-03-05 09:15Z', 'vm-100', 'acme-1', 'vm', 'small', 2, '2024-03-05 03:30Z';
LOAD 'meter';
SET meter.now = '2024-03-05 09:20Z';
SELECT FROM meter.reconcile('cloud', 'a', '2024-03-05 09:15Z', max_stops => 100);
SQL
cmp_ok($publisher->safe_psql('postgres', "SELECT count(*) FROM cloud.event WHERE action LIKE 'reconciled:%'"), '>', 10, 'the snapshot disagrees');
follow('2024-03-05 10:30Z');
same('a snapshot');
$publisher->safe_psql('postgres', q(INSERT INTO cloud.event (source, id, "time", resource, account, entity, action) VALUES
	('a', 'lost', '2024-03-05 04:00Z', 'vm-3', NULL, 'vm', 'stop'), ('a', 'found', '2024-03-05 09:40Z', 'vm-100', NULL, 'vm', 'stop')));
follow('2024-03-05 11:30Z');
same('what was lost arrives');
is($subscriber->safe_psql('postgres', "SELECT count(*) = count(DISTINCT arrival) AND min(arrival) > 0 FROM cloud.event"), 't', 'the subscriber numbers arrivals itself');

# Held rows are each side's own: the subscriber was told of no release.
$publisher->safe_psql('postgres', q(INSERT INTO cloud.event ("time", resource, account, entity, action) VALUES ('2024-03-01 00:00Z', 'vm-7', 'acme-1', 'vm', 'stop')));
follow('2024-03-05 12:30Z');
is($_->safe_psql('postgres', "SELECT count(*) FROM cloud.held WHERE meter = 'vm'"), '1', 'the ' . $_->name . ' holds what is too late') foreach ($publisher, $subscriber);
same('a row that is held');

# Observations without their snapshots.
$publisher->wait_for_catchup('logs_alone');
settle($partial, '2024-03-05 12:30Z');
like($partial->safe_psql('postgres', "SELECT last_error FROM meter.status WHERE meter = 'vm'"), qr/snapshot/, 'without the snapshots the meter says what is missing');

# The subscriber takes over: the publisher is gone, rows are logged here.
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION everything DISABLE');
$subscriber->safe_psql('postgres', q(INSERT INTO cloud.event (source, id, "time", resource, account, entity, action) VALUES ('a', 'after', '2024-03-05 12:45Z', 'vm-5', NULL, 'vm', 'stop')));
settle($subscriber, '2024-03-05 14:00Z');
is($subscriber->safe_psql('postgres', $verify), '0', 'a subscriber that takes over goes on');
$_->stop foreach ($publisher, $subscriber, $partial);
done_testing();
