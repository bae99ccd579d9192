# Promise: a standby that is promoted, and a server that is restored to a point in time, settle on where the log of that server is: nothing is
# lost behind a position, also not what was prepared, and verify is empty.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, has_archiving => 1);
$primary->append_conf('postgresql.conf', <<'CONF');
max_prepared_transactions = 10
fsync = off
autovacuum = off
jit = off
timezone = 'UTC'
shared_preload_libraries = 'meter'
meter.enabled = off
CONF
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SQL
$primary->backup('base');

# An hour's events, the last of them late by two hours; then all is settled that can be.
sub event
{
	my ($time, $resource, $action) = @_;
	return qq(INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 $time:00Z', '$resource', 'a', '$action'););
}

sub settle
{
	my ($node, $time) = @_;
	return $node->safe_psql('postgres', "LOAD 'meter'; SET meter.now = '2024-03-05 $time:00Z'; SELECT usage_rows, adjustments, late_rows FROM meter.advance('cloud')");
}

sub ledger
{
	my ($node) = @_;
	return $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(resource || ' ' || minutes, ', ' ORDER BY resource), (SELECT count(*) FROM meter.verify('cloud')), (SELECT last_error FROM meter.status),
	(SELECT count(DISTINCT settlement) = max(settlement) FROM cloud.usage)
FROM (SELECT resource, sum(quantity) AS minutes FROM cloud.usage GROUP BY 1) u
SQL
}

$primary->safe_psql('postgres', event('10:15', 'vm1', 'start'));
settle($primary, '12:00');
$primary->safe_psql('postgres', 'BEGIN; ' . event('10:30', 'vm2', 'start') . event('10:40', 'vm2', 'stop') . " PREPARE TRANSACTION 'slow'");
$primary->safe_psql('postgres', event('11:30', 'vm3', 'start'));
is(settle($primary, '12:00'), '0|0|0', 'a prepared transaction is waited for');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('then')");

# From here on the restored server knows nothing.
$primary->safe_psql('postgres', event('11:45', 'vm1', 'stop'));
settle($primary, '13:00');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay');
my ($status, $stdout, $stderr) = $standby->psql('postgres', "SELECT FROM meter.advance('cloud')");
like($stderr, qr/read-only|recovery/, 'a standby does not settle');
is($standby->safe_psql('postgres', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'but shows and verifies');
my $wal = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
ok($primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$wal' FROM pg_stat_archiver"), 'the log is archived');
$primary->stop('immediate');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf', "recovery_target_name = 'then'\nrecovery_target_action = 'promote'");
$restored->start;
ok($restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'the server is restored');
$standby->promote;

foreach my $server ([ $standby, 'promoted', 'vm1 90, vm2 10, vm3 150' ], [ $restored, 'restored', 'vm1 225, vm2 10, vm3 150' ])
{
	my ($node, $what, $expected) = @$server;
	settle($node, '14:00');
	is($node->safe_psql('postgres', "SELECT blocked_by[1] ~ '^prepared transaction \"slow\"' FROM meter.status"), 't', "$what: the prepared transaction is still waited for");
	$node->safe_psql('postgres', "COMMIT PREPARED 'slow'");
	settle($node, '14:00');
	is(ledger($node), "$expected|0||t", "$what: nothing is lost");
	$node->safe_psql('postgres', event('13:30', 'vm3', 'stop') . event('14:30', 'vm4', 'start'));
	settle($node, '15:00');
	(my $then = $expected) =~ s/vm3 150/vm3 120, vm4 30/;
	$then =~ s/vm1 225/vm1 285/;
	is(ledger($node), "$then|0||t", "$what: and it goes on");
	is($node->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT arrival) FROM cloud.event'), 't', "$what: arrivals are numbered on");
}

$standby->stop;
$restored->stop;
done_testing();
