# Promise: a reconcile that is killed half way, with its observations logged but nothing committed, leaves none; done again it leaves one
# set, and so do several at once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use IPC::Run qw(start finish);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('reconcile_kill');
$node->append_conf('postgresql.conf', "fsync = on\nsynchronous_commit = on\nrestart_after_crash = on");
$node->restart;
$node->safe_psql('postgres', <<'SQL');
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO cloud.event (source, "time", resource, account, action) SELECT 'dc', '2024-03-05 10:15Z', 'vm' || n, 'a', 'start' FROM generate_series(1, 500) n;
INSERT INTO cloud.inventory (source, at, resource, account) SELECT 'dc', '2024-03-05 11:30Z', 'vm' || n, 'a' FROM generate_series(51, 550) n;
SQL
my $reconcile = "LOAD 'meter'; SET meter.now = '2024-03-05 12:00Z'; SELECT count(*) FROM meter.reconcile('cloud', 'dc', '2024-03-05 11:30Z');";
my $logged    = "SELECT count(*), count(DISTINCT (id, resource)) FROM cloud.event WHERE action LIKE 'reconciled:%'";

sub session
{
	my ($sql) = @_;
	my %s = (out => '', err => '');
	$s{run} = start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql ], '<', \undef, '>', \$s{out}, '2>', \$s{err});
	return \%s;
}

# It reads the table of snapshots first and writes there last: who locks it against writers stops it just before its end.
my $holder = session("SET application_name = 'holder'; BEGIN; LOCK cloud.snapshot IN EXCLUSIVE MODE; SELECT pg_sleep(1000)");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'cloud.snapshot'::regclass AND mode = 'ExclusiveLock' AND granted");
my $victim = session("SET application_name = 'victim'; $reconcile");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'cloud.snapshot'::regclass AND NOT granted"), 'it has got to its end');
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'victim'");
kill 'KILL', $pid;
finish($_->{run}) foreach $victim, $holder;
poll_through_crash($node, 'SELECT true');
is($node->safe_psql('postgres', $logged), '0|0', 'killed half way it leaves nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cloud.snapshot'), '0', 'and is not noted');

my @sessions = map { session($reconcile) } 1 .. 4;
finish($_->{run}) foreach @sessions;
is(join(' ', sort { $a <=> $b } map { $_->{out} =~ s/\s//gr } @sessions), '0 0 0 100', 'of four at once one logs what there is');
is(join('', map { $_->{err} } @sessions), '', 'and none fails');
is($node->safe_psql('postgres', $logged), '100|100', 'there is one set of observations');
is($node->safe_psql('postgres', "LOAD 'meter'; SET meter.now = '2024-03-05 12:00Z'; CALL meter.run('cloud'); SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');
is($node->safe_psql('postgres', "SELECT count(*), sum(quantity) FROM cloud.usage_total WHERE quantity <> 0"),
	2 * 450 + 50 . '|' . (450 * 105 + 50 * 30), 'and the ledger has what is certain');
$node->stop;
done_testing();
