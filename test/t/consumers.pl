# Promise: how far a consumer has read survives a crash, the promotion of a standby, and a dump: of the batch that was open, it gets the same rows
# again, by the same transaction IDs; of what it finished, none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('consumers');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.enabled = off
jit = off
timezone = 'UTC'
CONF
$node->start;
my $batch = q{SELECT count(*) || ' rows of batch ' || max(batch) || ', ' || md5(string_agg(transaction_id || ' ' || quantity, ';' ORDER BY transaction_id)) FROM meter.next_batch('cloud', 'invoices', 700)};

# Applies a batch and finishes it, in one transaction.
my $apply = <<'SQL';
BEGIN;
CREATE TEMP TABLE batch ON COMMIT DROP AS SELECT * FROM meter.next_batch('cloud', 'invoices', 700);
INSERT INTO invoice_line SELECT transaction_id, account, quantity FROM batch;
SELECT meter.finish_batch('cloud', 'invoices', max(batch)) FROM batch HAVING count(*) > 0;
SQL
my $wrong = q{SELECT (SELECT count(*) FROM (SELECT transaction_id, account, quantity FROM cloud.usage EXCEPT TABLE invoice_line) q) + (SELECT count(*) FROM (TABLE invoice_line EXCEPT SELECT transaction_id, account, quantity FROM cloud.usage) q)};

sub log_day
{
	my ($where, $day) = @_;
	return $where->safe_psql('postgres', <<"SQL");
INSERT INTO cloud.event ("time", resource, account, action)
SELECT timestamptz '2024-03-0${day}Z' + n * interval '1 minute', 'vm' || n % 100, 'a' || n % 7, CASE n / 100 % 2 WHEN 0 THEN 'start' ELSE 'stop' END FROM generate_series(0, 999) n;
SET meter.now = '2024-03-0$day 23:00Z';
CALL meter.run('cloud');
SQL
}

sub drain
{
	my ($where) = @_;
	my $tries = 0;
	while ($where->safe_psql('postgres', q{SELECT sum(rows) FROM meter.consumer_status}) > 0 && $tries++ < 100)
	{
		$where->safe_psql('postgres', "$apply COMMIT;");
	}
	return $where->safe_psql('postgres', $wrong);
}

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
CREATE TABLE invoice_line (transaction_id uuid PRIMARY KEY, account text, quantity numeric);
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-01Z');
SELECT meter.create_consumer('cloud', 'invoices', from_start => true);
SQL
log_day($node, 1);
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cloud.usage'), '>', 1000, 'there is more than a batch');

# A crash with a batch open, and with one finished but not committed.
$node->safe_psql('postgres', "$apply COMMIT;");
my $before = $node->safe_psql('postgres', $batch);
like($before, qr/^\d{3} rows of batch/, 'a batch is open');
$node->safe_psql('postgres', 'CREATE TABLE flushed ()');	# so is what was committed before
my $session = $node->background_psql('postgres');
$session->query_safe($_) foreach grep { /\S/ } split /(?<=;)\n/, $apply;
$node->kill9;
# what is left of it has to go first
my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
while (--$tries > 0 && !$node->start(fail_ok => 1))
{
	usleep(100_000);
	$node->stop('immediate', fail_ok => 1);
}
is($node->safe_psql('postgres', $batch), $before, 'after a crash it is the same batch');
is($node->safe_psql('postgres', 'SELECT count(*) FROM invoice_line'), '700', 'what was not committed has no effects');
eval { $session->quit };

# Promotion.
my $backup = $node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('consumers_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
my ($status, undef, $error) = $standby->psql('postgres', $batch);
like($error, qr/cannot execute meter\.next_batch\(\) in a read-only transaction/, 'a standby has no batches');
like($standby->safe_psql('postgres', q{SELECT rows > 0 FROM meter.consumer_status}), qr/^t/, 'but it says how far the consumer is');
$node->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', $batch), $before, 'after a promotion it is the same batch');
is(drain($standby), '0', 'the ledger is what was applied');
log_day($standby, 2);
is(drain($standby), '0', 'nor is anything missing or doubled of what follows');

# A dump.
log_day($standby, 3);
$before = $standby->safe_psql('postgres', $batch);
my $dump = $standby->basedir . '/dump';
$standby->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $standby->connstr('postgres') ], 'a dump');
$standby->safe_psql('postgres', 'CREATE DATABASE restored');
$standby->command_ok([ 'pg_restore', '--exit-on-error', '-d', $standby->connstr('restored'), $dump ], 'restored');
($status, undef, $error) = $standby->psql('restored', $batch);
like($error, qr/stream "cloud" is not active/, 'has no batches before it is resumed');
$standby->safe_psql('restored', q{SELECT meter.resume('cloud')});
is($standby->safe_psql('restored', $batch), $before, 'then the same one is open');
$standby->safe_psql('restored', "$apply COMMIT;") foreach 1 .. 5;
is($standby->safe_psql('restored', $wrong), '0', 'and it goes on');
my $last = $standby->safe_psql('postgres', q{SELECT max(batch) FROM meter.next_batch('cloud', 'invoices')});
($status, undef, $error) = $standby->psql('restored', "SELECT meter.finish_batch('cloud', 'invoices', $last)");
like($error, qr/is not open/, 'a batch that the dump had open is finished once');
$standby->stop;
done_testing();
