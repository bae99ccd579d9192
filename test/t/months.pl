# Promise: months of the ledger are made whoever else is at work, taken out without keeping anybody waiting, and taken back from a dump
# as they were. Workers that lack the same month at the same time do not get into each other's way.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('months');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.naptime = 1s
meter.max_workers = 4
max_worker_processes = 16
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE billing');
my @meters = map { "m$_" } 1 .. 6;
sub sql { return $node->safe_psql('billing', $_[0]); }
sub until_so { return $node->poll_query_until('billing', $_[0]); }
my $contents = q{SELECT count(*) || ' ' || sum(hashtextextended(u::text, 0)::numeric) FROM cloud.usage u};
my $months = q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'cloud.usage'::regclass};

# Six meters that all lack the same months, and four workers.
sql('CREATE EXTENSION meter');
sql("SELECT meter.create_stream('cloud')");
sql("SELECT meter.create_meter('cloud', '$_', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0', max_lateness => '10 days', since => '2023-11-01Z')")
	foreach @meters;
sql(<<'SQL');
INSERT INTO cloud.event ("time", resource, account, action)
SELECT t + n % 7 * interval '1 minute', 'vm' || n % 50, 'a' || n % 3, CASE n / 50 % 2 WHEN 0 THEN 'start' ELSE 'stop' END
FROM (SELECT n, timestamptz '2023-11-05' + n / 50 * interval '8 hours' AS t FROM generate_series(0, 50 * 3 * 110) n) e
SQL
ok(until_so(q{SELECT count(*) = 6 AND min(watermark) > '2024-02-20' AND max(failures) = 0 FROM meter.status}), 'all meters settle');
like(sql($months), qr/^_usage_2023_11 _usage_2023_12 _usage_2024_01 _usage_2024_02/, 'each month is there');
is(sql('SELECT count(*) FROM meter.verify(\'cloud\')'), '0', 'verify finds nothing');
is(sql('SELECT count(DISTINCT (meter, count, sum)) FROM (SELECT \'\' AS meter, count(*), sum(quantity) FROM cloud.usage GROUP BY usage.meter) m'), '1', 'all meters say the same');
unlike(slurp_file($node->logfile), qr/deadlock/, 'nobody was in the way of anybody');

# A month is made beside transactions that write into the ledger or read it, and have not ended.
my $writer = $node->background_psql('billing');
my $reader = $node->background_psql('billing');
$writer->query_safe('BEGIN');
$writer->query_safe('LOCK TABLE cloud.usage IN ROW EXCLUSIVE MODE');
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT count(*) FROM cloud.usage');
sql(q{INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-20Z', 'vm1', 'a1', 'start'), ('2024-03-20 08:00Z', 'vm1', NULL, 'stop'), ('2024-03-21Z', 'vm0', NULL, 'tick')});
ok(until_so(q{SELECT min(watermark) >= '2024-03-21' AND max(failures) = 0 FROM meter.status}), 'a month is made beside open transactions');

# Readers hold back what takes a month out, which keeps nobody waiting.
ok(until_so(q{SELECT bool_and(final_until > '2024-03-02') FROM meter.status}), 'nothing of February is to come');
my $before = sql($contents);
sql(q{SELECT count(*) FROM meter.detach_usage('cloud', '2023-12-01Z') WHERE NOT detached});
is(sql(q{SELECT held_back_by FROM meter.detach_usage('cloud', '2023-12-01Z')}), 'transactions that have not ended use the ledger', 'a reader holds a month back');
is(sql('SELECT count(*) FROM cloud._detached') + sql('SELECT sum(detached_rows) FROM cloud.settlement'), 0, 'nothing was recorded of it');
is(sql($contents), $before, 'the ledger has it');
$writer->query_safe('COMMIT');
$reader->query_safe('COMMIT');
$writer->quit;
$reader->quit;
is(sql(q{SELECT bool_and(detached) FROM meter.detach_usage('cloud', '2024-02-01Z')}), 't', 'nobody holds them back any more');
is(sql('SELECT count(*) FROM meter.verify(\'cloud\')'), '0', 'verify looks at what is there');
isnt(sql($contents), $before, 'the months are gone');

# A dump of a month brings it back.
my $dump = $node->basedir . '/month';
$node->command_ok([ 'pg_dump', '-Fc', '-t', 'cloud.usage_2023_12', '-f', $dump, $node->connstr('billing') ], 'a month is dumped');
sql('DROP TABLE cloud.usage_2023_12');
my ($status, undef, $error) = $node->psql('billing', q{SELECT meter.attach_usage('cloud', '2023-12-01Z')});
like($error, qr/table "cloud.usage_2023_12" does not exist/, 'a month that is not there does not come back');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('billing'), $dump ], 'a month is restored');

# So does a dump of all.
my $all = $node->basedir . '/all';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $all, $node->connstr('billing') ], 'everything is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $all ], 'everything is restored');
foreach my $database ('billing', 'restored')
{
	$node->safe_psql($database, q{SELECT meter.resume('cloud')}) if $database eq 'restored';
	is($node->safe_psql($database, q{SELECT count(meter.attach_usage('cloud', month)) FROM cloud._detached}), '3', "$database: the months come back");
	is($node->safe_psql($database, $contents), $before, "$database: as they were");
	is($node->safe_psql($database, q{SELECT count(*) FROM meter.verify('cloud')}), '0', "$database: verify finds nothing");
}

# New usage goes into months that came back, or that a dump had.
$node->safe_psql($_, q{INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-30Z', 'vm1', 'a1', 'start'), ('2024-04-02Z', 'vm1', NULL, 'stop'), ('2024-04-03Z', 'vm0', NULL, 'tick')})
  foreach 'billing', 'restored';
ok($node->poll_query_until($_, q{SELECT min(watermark) >= '2024-04-03' AND max(failures) = 0 FROM meter.status}), "$_: goes on") foreach 'billing', 'restored';
is($node->safe_psql('restored', q{SELECT sum(quantity) FROM cloud.usage}), sql(q{SELECT sum(quantity) FROM cloud.usage}), 'the same usage');
$node->stop;
done_testing();
