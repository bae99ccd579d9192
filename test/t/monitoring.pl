# Promise: what stands in monitoring/ works: its queries and the SQL of its dashboard run, as the roles that docs/operations/monitoring.md names,
# the alert rules are valid, ask for metrics that the queries have, and fire when they should.
use strict;
use warnings;
use CPAN::Meta::YAML;
use FindBin;
use JSON::PP;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = "$FindBin::RealBin/../../monitoring";
my $node   = start_server('monitoring');

$node->safe_psql('postgres', <<'SQL');
SET client_min_messages = warning;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', since => date_trunc('hour', now()) - interval '2 days');
SELECT meter.create_meter('cloud', 'never', starts => '{begin}', stops => '{end}');
SELECT meter.create_consumer('cloud', 'invoices', from_start => true);
SELECT meter.heartbeat('cloud', 'geneva', now() - interval '1 hour');
INSERT INTO cloud.event ("time", resource, account, action, offering) VALUES
	(now() - interval '30 hours', 'vm-1', 'geneva-jug', 'start', 'small'), (now() - interval '20 hours', 'vm-1', NULL, 'stop', NULL),
	(now() - interval '25 hours', 'vm-2', 'basel-cup', 'stop', NULL);
CALL meter.run('cloud');
INSERT INTO cloud.event ("time", resource, account, action, offering) VALUES (now() - interval '22 hours', 'vm-1', NULL, 'stop', NULL);
CALL meter.run('cloud');
INSERT INTO cloud.inventory (source, at, resource) VALUES ('geneva', now() - interval '1 hour', 'vm-1');
SELECT meter.reconcile('cloud', 'geneva', max(at)) FROM cloud.inventory;
ANALYZE;
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE analyst LOGIN IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA cloud TO analyst;
GRANT SELECT ON cloud.usage, cloud.account_usage, cloud.settlement, cloud.anomaly, cloud.source_quality TO analyst;
SQL

# --- queries


# psql prints the names of the columns, too.
sub table_of
{
	my ($role, $sql) = @_;
	my ($out, $err);
	IPC::Run::run([ 'psql', '-XqA', '-P', 'footer=off', '-v', 'ON_ERROR_STOP=1', '-U', $role, '-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$out, '2>', \$err);
	return (undef, undef, $err) if $? != 0 || $err ne '';
	my ($head, @lines) = map { [ split /\|/, $_, -1 ] } split /\n/, $out;
	return ($head, \@lines, '');
}

my $queries = CPAN::Meta::YAML->read_string(slurp_file("$folder/queries.yaml"))->[0];
my %metric;
foreach my $name (sort keys %$queries)
{
	my ($head, $rows, $error) = table_of('watcher', $queries->{$name}{query});
	is($error, '', "$name: the query runs for a member of pg_monitor");
	next unless $head;
	my %described = map { %$_ } @{ $queries->{$name}{metrics} };
	is_deeply([ sort @$head ], [ sort keys %described ], "$name: each column is described");
	cmp_ok(scalar @$rows, '>', 0, "$name: there are rows") unless $name eq 'meter_progress';
	foreach my $i (0 .. $#$head)
	{
		my $usage = $described{ $head->[$i] }{usage};
		like($usage, qr/^(LABEL|GAUGE|COUNTER)$/, "$name.$head->[$i]: a kind that the exporter knows");
		$metric{"$name\_$head->[$i]"} = 1 if $usage ne 'LABEL';
		my @bad = grep { $_->[$i] !~ /^-?[\d.]*$/ } $usage eq 'LABEL' ? () : @$rows;
		is(scalar @bad, 0, "$name.$head->[$i]: numbers");
	}
}
my ($head, $rows) = table_of('watcher', $queries->{meter_status}{query} . " WHERE meter = 'vm'");
my %vm;
@vm{@$head} = @{ $rows->[0] };
is(join(' ', map { $_ eq '' ? 'unknown' : 'known' } @vm{qw(late_backlog held quarantined)}), 'known known known', 'a member of pg_monitor sees how many rows wait');
cmp_ok($vm{ledger_bytes_per_day}, '>', 0, 'and how the ledger grows');

($head, $rows) = table_of('watcher', $queries->{meter_consumer}{query});
cmp_ok($rows->[0][3], '>', 0, 'and how far a consumer is behind');

# --- alerts

my $alerts = slurp_file("$folder/alerts.yaml");
my %asked = map { $_ => 1 } $alerts =~ /^\s+expr: .*?\b(meter_\w+)/mg;
is_deeply([ grep { !$metric{$_} } sort keys %asked ], [], 'the alert rules ask for metrics that the queries have');
my $tests = slurp_file("$folder/alerts_test.yaml");
is_deeply([ grep { $tests !~ /alertname: $_\n\s+exp_alerts:\n/ } $alerts =~ /- alert: (\w+)/g ], [], 'each alert is seen to fire');
SKIP:
{
	my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
	skip 'no promtool (Debian: prometheus)', 2 unless $promtool;
	command_ok([ $promtool, 'check', 'rules', "$folder/alerts.yaml" ], 'promtool check rules');
	command_ok([ $promtool, 'test', 'rules', "$folder/alerts_test.yaml" ], 'promtool test rules');
}

# --- the dashboard

my $dashboard = JSON::PP->new->utf8->decode(slurp_file("$folder/dashboard.json"));
my %variable  = (stream => 'cloud', meter => 'vm', account => 'geneva-jug', price => '0.25', datasource => 'x');
my %expected  = (uid => '', title => '', schemaVersion => '', version => '', time => 'HASH', templating => 'HASH', annotations => 'HASH', panels => 'ARRAY', tags => 'ARRAY');

is_deeply({ map { $_ => ref $dashboard->{$_} } grep { exists $dashboard->{$_} } keys %expected }, \%expected, 'the dashboard has the fields of its schema');
ok(exists $dashboard->{id} && !defined $dashboard->{id}, 'it is a new one to whoever imports it');

# As Grafana fills in variables and macros.
sub fill
{
	my ($sql) = @_;
	$sql =~ s/\$__timeFilter\(([^()]+)\)/$1 BETWEEN now() - interval '7 days' AND now()/g;
	$sql =~ s/\$__timeFrom\(\)/'@{[ $node->safe_psql('postgres', "SELECT now() - interval '7 days'") ]}'/g;
	$sql =~ s/\$__timeTo\(\)/'@{[ $node->safe_psql('postgres', 'SELECT now()') ]}'/g;
	$sql =~ s/\$\{(\w+)\}/exists $variable{$1} ? $variable{$1} : die "no variable $1 in: $sql"/ge;
	return $sql;
}

is_deeply([ sort map { $_->{name} } @{ $dashboard->{templating}{list} } ], [ sort keys %variable ], 'it has the variables that its SQL names');
foreach my $variable (grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} })
{
	my (undef, $rows, $error) = table_of('analyst', fill($variable->{query}));
	is($error, '', "variable $variable->{name}: its SQL runs");
	ok((grep { $_->[0] eq $variable{ $variable->{name} } } @{ $rows || [] }), "variable $variable->{name}: it has the value to pick");
}
my (%id, @taken);
foreach my $panel (@{ $dashboard->{panels} })
{
	my $title = $panel->{title};
	my $at    = $panel->{gridPos};
	my %kind  = map { $_ => ref($panel->{$_}) || 'scalar' } keys %$panel;

	is_deeply([ @kind{qw(id type gridPos fieldConfig options targets datasource)} ], [qw(scalar scalar HASH HASH HASH ARRAY HASH)], "$title: the fields of a panel");
	ok(!$id{ $panel->{id} }++, "$title: a number of its own");
	like($panel->{type}, qr/^(timeseries|table|stat)$/, "$title: a panel that Grafana comes with");
	ok($at->{x} >= 0 && $at->{w} > 0 && $at->{x} + $at->{w} <= 24, "$title: within the width of 24");
	ok(!(grep { $at->{x} < $_->{x} + $_->{w} && $_->{x} < $at->{x} + $at->{w} && $at->{y} < $_->{y} + $_->{h} && $_->{y} < $at->{y} + $at->{h} } @taken), "$title: covers no other");
	push @taken, $at;
	foreach my $target (@{ $panel->{targets} })
	{
		my ($head, $rows, $error) = table_of('analyst', fill($target->{rawSql}));
		is($error, '', "$title: its SQL runs for an analyst");
		next unless $head;
		cmp_ok(scalar @$rows, '>', 0, "$title: it shows something");
		is($head->[0], 'time', "$title: a time first") if $target->{format} eq 'time_series';
		is($target->{format} eq 'time_series', $panel->{type} eq 'timeseries', "$title: a series of times where it is drawn as one");
	}
}

$node->stop;
done_testing();
