# Promise: settlements are numbered without gaps, in the order in which they become visible. So whoever reads "all after settlement n", again and
# again, while others settle, gets every row of the ledger once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $node = PostgreSQL::Test::Cluster->new('consumer');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'meter'
meter.naptime = 1s
fsync = off
jit = off
timezone = 'UTC'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', name, starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0') FROM unnest('{vm,other}'::text[]) name;
SQL

# Everybody goes on until there is a file that says stop.
my $work = $node->basedir;
my @children;

sub child
{
	my ($number, $turn) = @_;
	my $pid = fork() // die "fork: $!";
	if (!$pid)
	{
		srand($seed + $number);
		$turn->() while !-e "$work/stop";
		POSIX::_exit(0);
	}
	push @children, $pid;
	return;
}

# Writers: time goes on by some minutes with each batch, and some of it is late. Settlers: with the worker, several at a time; some hold their
# result back for a while, or give it up.
my $hour = 0;
foreach my $writer (1, 2)
{
	child($writer, sub {
		my $rows = join(', ', map {
			my $minutes = ++$hour * 20 - (rand() < 0.3 ? int(rand(600)) : 0);
			sprintf(q(('2024-03-05 00:00Z'::timestamptz + %d * interval '1 minute', 'vm%d', 'a', '%s')), $minutes, rand(10), rand() < 0.5 ? 'start' : 'stop')
		} 1 .. 5);
		$node->psql('postgres', qq(INSERT INTO cloud.event ("time", resource, account, action) VALUES $rows));
	});
}
foreach my $settler (3, 4)
{
	child($settler, sub {
		$node->psql('postgres', 'BEGIN; SELECT FROM meter.advance(\'cloud\'' . (rand() < 0.3 ? ", 'vm'" : '') . sprintf('); SELECT pg_sleep(%.2f); ', rand(0.1)) . (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK'));
	});
}

# The consumer, one for each meter: what it read, and after which number.
my (%after, %seen, @problems);

sub consume
{
	my ($meter) = @_;
	my $n = $after{$meter} // 0;
	my @rows = map { [ split /\|/ ] } split /\n/,
	  $node->safe_psql('postgres', "SELECT settlement, transaction_id FROM cloud.usage WHERE meter = '$meter' AND settlement > $n ORDER BY settlement");
	my $expected = $n;
	foreach my $row (@rows)
	{
		my ($settlement, $id) = @$row;
		push @problems, "$meter: $settlement after $expected" if $settlement > $expected + 1;
		push @problems, "$meter: $id twice" if $seen{$meter}{$id}++;
		$expected = $settlement;
	}
	$after{$meter} = $expected;
	return scalar(@rows);
}

# It hears when there is something to read.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN meter');

my ($reads, $fruitful) = (0, 0);
my $tries = $PostgreSQL::Test::Utils::timeout_default;
my $start = time();
while (($after{vm} // 0) < 40 && time() < $start + $tries)
{
	$reads++;
	$fruitful += consume('vm') + consume('other') > 0 ? 1 : 0;
}
my $heard = $listener->query('SELECT 1');
append_to_file("$work/stop", '');
waitpid($_, 0) foreach @children;
cmp_ok($after{vm}, '>=', 40, "there were settlements to read ($reads reads, $fruitful with rows)");
cmp_ok($fruitful, '>', 5, 'and they were read one after the other');
like($heard, qr/Asynchronous notification "meter" with payload "cloud\.vm"/, 'a listener hears of them');
$listener->quit;

$node->safe_psql('postgres', "CALL meter.run('cloud')");
ok($node->poll_query_until('postgres', "SELECT bool_and(late_backlog = 0 AND last_error IS NULL) FROM meter.status"), 'all is settled');
consume($_) foreach 'vm', 'other';
is_deeply([ @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ] ], [], 'no gap was seen, and no row twice');
foreach my $meter ('vm', 'other')
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM cloud.usage WHERE meter = '$meter'"), scalar(keys %{ $seen{$meter} }), "$meter: and every row was seen");
	is($node->safe_psql('postgres', "SELECT count(DISTINCT settlement) = max(settlement) AND max(settlement) = (SELECT m.settlement FROM meter.meter m WHERE m.name = '$meter') FROM cloud.usage WHERE meter = '$meter'"),
		't', "$meter: the numbers have no gaps");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');
$node->stop;
done_testing();
