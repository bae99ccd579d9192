# Promise: heartbeats and levels give what the test suites of other systems expect (test/cases/peer_cases.json).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use Test::More;

my $node   = start_server('peer_aggregates');
my $script = '';
my (%expected, @names);

# The script answers 'name<TAB>true'.
sub check
{
	my ($name, $condition) = @_;
	push @names, $name;
	$script .= "SELECT " . literal($name) . ", ($condition)::text;\n";
}

foreach my $case (@{ read_cases('peer_cases.json') })
{
	my ($id, $kind) = @$case{qw(id kind)};
	my ($from, $to) = @{ $case->{window} };
	my @events = @{ $case->{events} };

	if ($kind eq 'heartbeat')
	{
		my $liveness = "'$case->{liveness_seconds} seconds'::interval";
		my @beats = map { literal($_->{time}) . '::timestamptz' } @events;
		push @beats, literal($case->{carried_alive_until}) . "::timestamptz - $liveness" if defined $case->{carried_alive_until};
		my $line = '(SELECT meter.heartbeats(t, ' . $liveness . ') FROM unnest(ARRAY[' . join(', ', @beats) . ']) t)';
		my $during = "tstzrange('$from', '$to')";
		check("$id $case->{name}", $case->{unit} eq 'ranges'
			? "(SELECT count(*) FROM meter.spans($line) s WHERE s.during && $during) = $case->{expected}"
			: "extract(epoch FROM meter.duration($line, $during)) = $case->{expected}");
	}
	elsif ($kind eq 'weighted_sum')
	{
		# what was there before the window is a delta before it, unless an event says so itself
		my @deltas = map { '(' . literal($_->{time}) . "::timestamptz, $_->{value}::numeric)" } @events;
		push @deltas, "('2000-01-01Z'::timestamptz, $case->{initial_value}::numeric)"
		  if $case->{initial_value} && !grep { $_->{time} lt $from } @events;
		my $line = @deltas ? '(SELECT meter.levels(t, d) FROM (VALUES ' . join(', ', @deltas) . ') e (t, d))' : "'{}'::meter.timeline";
		check("$id $case->{name}", "abs(meter.weighted($line, tstzrange('$from', '$to'), '$to'::timestamptz - '$from'::timestamptz)"
			  . " - $case->{expected}) <= 0.000005");
	}
}

my $answer = answers($node, $script);
is($answer->{$_}, 'true', $_) foreach @names;
cmp_ok(scalar @names, '>=', 16, 'all cases were found');

$node->stop;
done_testing();
