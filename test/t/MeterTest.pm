# MeterTest: a private server for a test, SQL scripts whose every line of output is a named answer, and the shape of the cases.
package MeterTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_server read_cases quote literal answers number define meter_arguments event_rows insert_events usage_text
  stamp seconds seed poll_through_crash recorded_days rewind_some release_aside aside_is_right configure);

my $home = dirname(dirname(__FILE__));

# A server of its own, without the worker, with the extension and the oracle in database postgres.
sub start_server
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
fsync = off
synchronous_commit = off
autovacuum = off
jit = off
timezone = 'UTC'
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION meter');
	$node->safe_psql('postgres', slurp_file("$home/oracle.sql"));
	return $node;
}

# As poll_query_until, while the server may be away: the query is an argument of psql's, for one that is written to a psql
# which has found no server, and gone, would end the test.
sub poll_through_crash
{
	my ($node, $query) = @_;
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (time() < $until)
	{
		my ($stdout, $stderr);
		IPC::Run::run([ 'psql', '-XAtqw', '-d', $node->connstr('postgres'), '-c', $query ], '<', \undef, '>', \$stdout, '2>', \$stderr);
		return 1 if $stdout eq "t\n";
		select(undef, undef, undef, 0.1);
	}
	diag("not so in time: $query");
	return 0;
}

sub read_cases
{
	my ($file) = @_;
	return JSON::PP->new->utf8->decode(slurp_file("$home/cases/$file"));
}

# An SQL literal; undef is NULL.
sub literal
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub quote
{
	my ($name) = @_;
	$name =~ s/"/""/g;
	return qq("$name");
}

# Runs a script and returns its answers: a reference to a hash from name to text, of the lines 'name<TAB>text' that it
# prints. Errors do not stop it: what a statement should have answered is then missing, and the message is shown.
# METER_SCRIPT=file keeps what was run last, to run it by hand.
sub answers
{
	my ($node, $script, $database) = @_;
	my ($stdout, $stderr);
	$script = "LOAD 'meter';\nSET client_min_messages = warning;\n$script";
	if ($ENV{METER_SCRIPT})
	{
		unlink $ENV{METER_SCRIPT};
		append_to_file($ENV{METER_SCRIPT}, $script);
	}
	$node->psql($database || 'postgres', $script,
		stdout        => \$stdout,
		stderr        => \$stderr,
		on_error_stop => 0,
		timeout       => $PostgreSQL::Test::Utils::timeout_default,
		extra_params  => [ '-F', "\t" ]);
	diag($stderr) if $stderr ne '';
	my %answer;
	foreach (split /\n/, $stdout)
	{
		my ($name, $text) = split /\t/, $_, 2;
		next if !defined $text;
		BAIL_OUT("two answers named $name") if exists $answer{$name};
		$answer{$name} = $text;
	}
	return \%answer;
}

# A number in its least scale, as text.
sub number
{
	my ($n) = @_;
	return undef unless defined $n;
	$n = "$n";
	$n =~ s/0+$//, $n =~ s/\.$// if $n =~ /\./;
	$n = '0' if $n eq '-0';
	return $n;
}

# The arguments of meter.create_meter and of oracle.define that a case gives.
sub meter_arguments
{
	my ($meter) = @_;
	return map { $_ . ' => ' . literal($meter->{$_}) }
	  grep { defined $meter->{$_} } sort keys %$meter;
}

# The rows of an event log for a case's events.
sub event_rows
{
	my (@events) = @_;
	return map {
		my $e = $_;
		'(' . join(', ',
			map { literal($_) } $e->{source}, $e->{id}, $e->{time}, $e->{resource} // 'r1', $e->{account},
			$e->{kind}, $e->{label}, number($e->{value})) . ')'
	} @events;
}

sub insert_events
{
	my ($table, @events) = @_;
	return '' unless @events;
	return qq(INSERT INTO $table (source, id, "time", resource, account, action, offering, value) VALUES\n)
	  . join(",\n", event_rows(@events)) . ";\n";
}

# A query for usage rows as one text that can be compared: 'period account label quantity; …', quantities of 0 left out.
sub usage_text
{
	my ($from) = @_;
	return <<"SQL";
(SELECT coalesce(string_agg(to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' ' || coalesce(account, '?')
	|| ' ' || coalesce(dimensions ->> 'offering', '?') || ' ' || trim_scale(quantity), '; '
	ORDER BY period_start, account COLLATE "C", dimensions ->> 'offering' COLLATE "C"), '')
 FROM $from WHERE quantity <> 0)
SQL
}

# SQL that takes the watermarks of the meters of a stream back, now and then, to a period that is settled.
sub rewind_some
{
	my ($stream, $name) = @_;
	my $log  = "(SELECT min(t) FROM (SELECT \"time\" FROM $stream.event UNION ALL SELECT start_time FROM $stream.measure) l (t))";
	my $part = sprintf('%.3f', rand() < 0.2 ? 1 : rand(0.5));
	return <<"SQL";
SELECT '$name', count(meter.rewind('$stream', name, w)) FROM (SELECT name, watermark, CASE WHEN watermark >= $log THEN greatest(since, oracle.slice_begin($log, period, timezone),
	oracle.slice_begin(watermark - (watermark - $log) * $part, period, timezone)) END AS w FROM meter.meter WHERE stream = '$stream') m WHERE w <= watermark;
-- days that no meter has settled any longer are forgotten; the oracle knows them still
INSERT INTO $stream._calendar SELECT timezone, day, begins FROM oracle.recorded_day d WHERE EXISTS (SELECT FROM meter.meter m WHERE m.stream = '$stream' AND m.timezone = d.timezone)
ON CONFLICT (timezone, day) DO UPDATE SET starts_at = excluded.starts_at;
SQL
}

# SQL that releases what a world has set aside; `compare` is what answers '' where a meter is as the oracle says.
sub release_aside
{
	my ($w, $stream, $compare, @meters) = @_;
	return <<"SQL" . join('', map { "SELECT 'world $w released $_->{name}', " . $compare->($_) . ";\n" } @meters) . "SELECT 'world $w released verify', count(*) FROM meter.verify('$stream');\n";
RESET meter.resource_memory;
SELECT 'world $w aside', count(*) FROM $stream.quarantine;
SELECT meter.release_resource('$stream', meter, resource) FROM $stream.quarantine;
SQL
}

# What that has answered.
sub aside_is_right
{
	my ($answer, $w, @meters) = @_;
	note($answer->{"world $w aside"} . ' set aside');
	is($answer->{"world $w released $_->{name}"}, '', "released: $_->{name} as the oracle says") or diag("METER_WORLD=$w: $_->{create}") foreach @meters;
	is($answer->{"world $w released verify"}, '0', 'released: verify is empty');
	return;
}

# Sets a setting of a server, and waits until its sessions know.
sub configure
{
	my ($node, $name, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = $value");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT setting = '$value' FROM pg_settings WHERE name = '$name'");
	return;
}

# Instants of the cases as seconds, and back.
sub seconds
{
	my ($time) = @_;
	my ($y, $mo, $d, $h, $mi, $s) = $time =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z$/ or die "not an instant: $time";
	require Time::Local;
	return Time::Local::timegm(0, $mi, $h, $d, $mo - 1, $y) + $s;
}

sub stamp
{
	my ($s) = @_;
	my @t = gmtime($s);
	return sprintf('%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ]);
}

# Days as rules have had them that the server has no longer, on record in a stream and with the oracle; often none. The zone's days
# of any world before are forgotten.
sub recorded_days
{
	my ($stream, $timezone, $begin, $hours) = @_;
	my $script = "SELECT FROM oracle.forget_days('$timezone');\n";
	return $script if $timezone eq 'UTC' || rand() < 0.4;
	my $day = int(rand(3)) - 2;
	foreach (1 .. 1 + int(rand(3)))
	{
		my $last = $day + int(rand(2 + $hours / 24));
		my $off = ('1 hour', '-1 hour', '1 hour', '-1 hour', '30 minutes', '-3 hours', '24 hours', '-24 hours')[ int(rand(8)) ];
		$script .= "SELECT FROM oracle.record_days('$timezone', '$begin'::timestamptz::date + $day, '$begin'::timestamptz::date + $last, '$off');\n";
		$day = $last + 1 + (rand() < 0.3 ? 1 + int(rand(3)) : 0);
	}
	return $script . "INSERT INTO $stream._calendar SELECT timezone, day, begins FROM oracle.recorded_day WHERE timezone = '$timezone';\n";
}

# The seed of a random test, printed so that a failure can be seen again: METER_SEED=n prove …
sub seed
{
	my $seed = $ENV{METER_SEED} || int(rand(1e9));
	srand($seed);
	diag("METER_SEED=$seed");
	return $seed;
}

1;
