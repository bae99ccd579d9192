# CitusTest: a cluster of three nodes on loopback, beside a database that is not distributed, for the tests of distributed streams.
package CitusTest;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(citus_or_skip start_cluster add_server sql both same quietly background finish);

our ($coordinator, @workers, @settings);

# Skips all of a program where Citus is not installed.
sub citus_or_skip
{
	my $share = qx($ENV{PG_CONFIG} --sharedir);
	chomp $share;
	plan skip_all => 'Citus is not installed' unless -e "$share/extension/citus.control";
	return;
}

sub start_node
{
	my ($name, @more) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join("\n", <<'CONF', @more, ''));
listen_addresses = 'localhost'
shared_preload_libraries = 'citus,meter'
meter.enabled = off
citus.enable_version_checks = off
citus.max_cached_conns_per_worker = 0
max_prepared_transactions = 50
max_connections = 60
fsync = off
autovacuum = off
jit = off
timezone = 'UTC'
CONF
	$node->start;
	return $node;
}

# A node with Citus that is not in the cluster yet.
sub add_server
{
	my ($name) = @_;
	my $node = start_node($name, @settings);
	$node->safe_psql('postgres', 'CREATE DATABASE cluster');
	$node->safe_psql('cluster',  'CREATE EXTENSION citus');
	return $node;
}

# The cluster's database is "cluster"; database "alone" of the coordinator has the extension without Citus. Clusters of two
# programs that run at the same time have other ports.
sub start_cluster
{
	my ($prefix, @more) = @_;
	@settings    = @more;
	$coordinator = add_server("${prefix}_coordinator");
	@workers     = map { add_server("${prefix}_worker$_") } 1 .. 2;
	$coordinator->safe_psql('postgres', 'CREATE DATABASE alone');
	$coordinator->safe_psql('alone',    'CREATE EXTENSION meter');
	$coordinator->safe_psql('cluster', join(';', "SELECT citus_set_coordinator_host('localhost', " . $coordinator->port . ')',
			(map { "SELECT citus_add_node('localhost', " . $_->port . ')' } @workers),
			"SELECT citus_set_node_property('localhost', " . $coordinator->port . ", 'shouldhaveshards', false)"));
	# on all nodes
	$coordinator->safe_psql('cluster', 'CREATE EXTENSION meter');
	return ($coordinator, @workers);
}

sub quietly { return "SET client_min_messages = error;\n$_[0]"; }

# What a script returns in the cluster's database; its errors fail the test.
sub sql { return $coordinator->safe_psql('cluster', quietly($_[0])); }

# What a script returns in both databases: in that of the cluster, and alone.
sub both { return map { $coordinator->safe_psql($_, quietly($_[0])) } qw(cluster alone); }

# Passes if a script returns the same in both databases.
sub same
{
	my ($script, $name) = @_;
	my ($cluster, $alone) = both($script);
	is($cluster, $alone, $name);
	return $cluster;
}

my $backgrounds = 0;

# Runs a script in the cluster's database meanwhile. finish() waits for it; it fails the test if the script fails, or, where nodes do, in a way of its own.
sub background
{
	my ($script, $may_fail) = @_;
	my $file = $coordinator->basedir . '/background' . ++$backgrounds . '.sql';
	my $run = { out => '', err => '', may_fail => $may_fail };
	append_to_file($file, $script);
	$run->{session} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=' . ($may_fail ? 0 : 1), '-d', $coordinator->connstr('cluster'), '-f', $file ], '<', \undef, '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

sub finish
{
	my ($run) = @_;
	$run->{session}->finish;
	if ($run->{may_fail})
	{
		unlike($run->{err}, qr/syntax error|does not exist|ERROR: +unexpected|duplicate key/, 'a session meanwhile');
	}
	else
	{
		is($run->{err}, '', 'a session meanwhile');
	}
	return $run->{out};
}

1;
