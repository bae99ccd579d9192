# Promise: whatever pg_dump makes of a stream, plain, custom or in parallel, comes back whole: nothing acts before meter.resume, then the meter goes on
# from where the dump was, waits for no transaction of the server that the dump came from, and holds what was held.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('formats');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
max_prepared_transactions = 10
shared_preload_libraries = 'meter'
meter.enabled = off
meter.now = '2024-03-05 12:00Z'
fsync = off
autovacuum = off
jit = off
timezone = 'UTC'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => '1 day');
INSERT INTO cloud.event (source, id, "time", resource, account, action) VALUES
	('api', '1', '2024-03-05 10:15Z', 'vm1', 'a', 'start'), ('api', '2', '2024-03-05 10:15Z', 'vm2', 'a', 'start'), ('api', '2', '2024-03-05 10:15Z', 'vm2', NULL, 'void');
CALL meter.run('cloud');
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('1970-01-01 00:00Z', 'vm3', 'a', 'start');
CALL meter.run('cloud');
BEGIN;
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:15Z', 'vm4', 'a', 'start');
PREPARE TRANSACTION 'slow';
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:30Z', 'vm1', NULL, 'stop');
CALL meter.run('cloud');
SQL
my $content = <<'SQL';
SELECT md5(string_agg(u::text, ';' ORDER BY transaction_id)) FROM cloud.usage u
UNION ALL SELECT string_agg(h::text, ';' ORDER BY arrival) FROM cloud.held h
UNION ALL SELECT string_agg(v::text, ';') FROM cloud._voided v
UNION ALL SELECT string_agg(e::text, ';' ORDER BY arrival) FROM cloud.event e
UNION ALL SELECT string_agg(s::text, ';' ORDER BY settlement) FROM cloud.settlement s
UNION ALL SELECT string_agg(r::text, ';' ORDER BY resource) FROM cloud._resource_state r
SQL
my $before = $node->safe_psql('postgres', $content);
is($node->safe_psql('postgres', 'SELECT cardinality(blocked_by) FROM meter.status'), '1', 'a prepared transaction is waited for');

my $dir = $node->basedir;
my %formats = (
	plain    => [ [ 'pg_dump', '-f', "$dir/plain" ], [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", '-d' ] ],
	custom   => [ [ 'pg_dump', '-Fc', '-f', "$dir/custom" ], [ 'pg_restore', '--exit-on-error', "$dir/custom", '-d' ] ],
	parallel => [ [ 'pg_dump', '-Fd', '-j2', '-f', "$dir/parallel" ], [ 'pg_restore', '--exit-on-error', '-j2', "$dir/parallel", '-d' ] ]);
foreach my $format (sort keys %formats)
{
	my ($dump, $restore) = @{ $formats{$format} };
	subtest $format => sub {
		$node->command_ok([ @$dump, $node->connstr('postgres') ], 'dumped');
		$node->safe_psql('postgres', "CREATE DATABASE $format");
		$node->command_ok([ @$restore, $node->connstr($format) ], 'restored');
		is($node->safe_psql($format, $content), $before, 'everything is there');
		my ($status, $stdout, $stderr) = $node->psql($format, "SELECT FROM meter.advance('cloud')");
		like($stderr, qr/stream "cloud" is not active.*meter\.resume/s, 'but nothing acts');
		is($node->safe_psql($format, "SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify looks all the same');
		$node->safe_psql($format, "SELECT meter.resume('cloud')");
		is($node->safe_psql($format, "SELECT adjustments, late_rows FROM meter.advance('cloud')"), '1|1', 'resumed, the meter waits for nobody elsewhere');
		is($node->safe_psql($format, 'SELECT blocked_by FROM meter.status'), '', 'and names nobody');
		$node->safe_psql($format, q(INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:45Z', 'vm5', 'a', 'start'), ('1970-01-01 00:00Z', 'vm6', 'a', 'start')));
		is($node->safe_psql($format, "SELECT adjustments, late_rows FROM meter.advance('cloud')"), '1|2', 'it goes on');
		is($node->safe_psql($format, 'SELECT count(*) = count(DISTINCT arrival) FROM cloud.event'), 't', 'arrivals are numbered on');
		is($node->safe_psql($format, "SELECT string_agg(resource, ' ' ORDER BY h.arrival) FROM cloud.held h JOIN cloud.event USING (arrival)"), 'vm3 vm6', 'what comes too late is still held');
		is($node->safe_psql($format, "SELECT string_agg(resource || ' ' || minutes, ', ' ORDER BY resource) FROM (SELECT resource, sum(quantity) AS minutes FROM cloud.usage GROUP BY 1) u"),
			'vm1 75, vm5 15', 'all is billed');
		is($node->safe_psql($format, "SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');
	};
}
$node->safe_psql('postgres', "COMMIT PREPARED 'slow'; SELECT FROM meter.advance('cloud')");
is($node->safe_psql('postgres', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'the source goes on, too');
$node->stop;
done_testing();
