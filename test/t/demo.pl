# Promise: the month that demo/cloud.pl makes has every mishap that it counts, and whatever the seed, the ledger is what the generator
# has reckoned without the extension, hour by hour. METER_MONTHS=n tries so many months.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $node = start_server('demo');
my $end  = time();

foreach my $seed (1 .. ($ENV{METER_MONTHS} || 1))
{
	my $month = PostgreSQL::Test::Utils::tempdir();
	my $log   = 'cloud.event ("time", source, id, resource, account, entity, action, offering, value)';
	system_or_bail('perl', "$root/demo/cloud.pl", $month, $end - $seed * 7 * 3600, $seed);
	like(slurp_file("$month/summary"), qr/^[1-9]\d* $_$/m, "seed $seed: $_") foreach qw(ahead doubled late lost moved resized void);
	$node->safe_psql('postgres', "CREATE DATABASE seed$seed");
	$node->safe_psql("seed$seed", slurp_file("$month/setting") . slurp_file("$root/demo/cloud.sql"));
	my $script = '';
	foreach my $file (sort glob("$month/*.event.csv"))
	{
		(my $inventory = $file) =~ s/event\.csv$/inventory.csv/;
		my $at = slurp_file($file =~ s/event\.csv$/until/r) =~ s/\s+$//r;
		$script .= <<"SQL";
COPY $log FROM '$file' (FORMAT csv);
SELECT meter.heartbeat('cloud', 'geneva', '$at'), meter.heartbeat('cloud', 'zurich', '$at');
CALL meter.run('cloud');
SQL
		$script .= <<"SQL" if -e $inventory;
COPY cloud.inventory (source, at, resource, account, entity, offering, value, since) FROM '$inventory' (FORMAT csv);
SELECT FROM meter.reconcile('cloud', 'geneva', '$at');
SELECT FROM meter.reconcile('cloud', 'zurich', '$at');
CALL meter.run('cloud');
SQL
	}
	$node->safe_psql("seed$seed", $script);
	(my $truth = slurp_file("$root/demo/month_truth.sql")) =~ s/^\\copy demo\.truth FROM PSTDIN/COPY demo.truth FROM '$month\/truth.csv'/m;
	$node->safe_psql("seed$seed", "$truth;" =~ s/\(FORMAT csv\)\n/(FORMAT csv);\n/r);
	is($node->safe_psql("seed$seed", 'SELECT count(*) > 10000 FROM demo.truth'), 't', "seed $seed: there is something to bill");
	is($node->safe_psql("seed$seed", 'SELECT * FROM demo.difference LIMIT 10'), '', "seed $seed: the bill is the truth");
	is($node->safe_psql("seed$seed", "SELECT count(*) FROM meter.verify('cloud')"), '0', "seed $seed: verify is empty");
	is($node->safe_psql("seed$seed", <<'SQL'), 't', "seed $seed: rows are out of order, and the ledger has adjustments");
SELECT EXISTS (SELECT FROM cloud.usage WHERE revision > 0)
	AND EXISTS (SELECT FROM (SELECT "time" < max("time") OVER (PARTITION BY resource ORDER BY arrival) AS back FROM cloud.event) e WHERE back)
SQL
}
$node->stop;
done_testing();
