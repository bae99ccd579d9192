# Promise: whatever the events, their order, and how they are split into partial states, timelines say what plain SQL says.
#
# The work is in test/timeline_property.sql.
#
#   METER_SEED=n        the same events again
#   METER_TIMELINES=n   this many timelines instead of 10,000
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $seed   = seed();
my $groups = $ENV{METER_TIMELINES} || 10_000;
my $node   = PostgreSQL::Test::Cluster->new('timeline_property');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_parallel_workers = 4\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION meter');

# setseed() takes -1 to 1
$node->psql('postgres', undef,
	extra_params => [ '-q', '-v', sprintf('seed=%.9f', ($seed % 1_000_000_007) / 1_000_000_007), '-v', "groups=$groups",
		'-f', "$FindBin::RealBin/../timeline_property.sql" ],
	stdout => \my $stdout, stderr => \my $stderr, on_error_stop => 1, timeout => 3600);
is($stderr, '', 'no errors');
my $checks = 0;
foreach my $line (split /\n/, $stdout)
{
	my ($what, $differences) = split /\t/, $line;
	next unless defined $differences;
	$checks++;
	is($differences, 0, $what);
}
cmp_ok($checks, '>=', 22, 'all was checked');

$node->stop;
done_testing();
