# Promise: whatever measures and events arrive, and in whatever order, the ledger of a meter of measures says what the rules say.
#
# Worlds of random measures (long and of no length, duplicates with other times and values, voids near and far, readings of one instant, values of every
# scale, no account, odd texts), of counters that go round, dip, begin anew and are told late, and of events that move accounts, for all entities or
# for one, late, early and never, are fed to a stream in random batches, settled after each, and compared with the oracle in plain SQL, by nine
# meters. In some worlds one resource has more than its share of memory holds: it is
# set aside, now and then released, and in the end computed as all others were.
#
#   METER_SEED=n      the same worlds again
#   METER_WORLD=n     only that world
#   METER_RANDOM=n    this many worlds instead of 6
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use List::Util qw(max min shuffle);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed    = seed();
my $node    = start_server('quantities_random');
my @numbers = $ENV{METER_WORLD} ? ($ENV{METER_WORLD}) : (1 .. ($ENV{METER_RANDOM} || 6));
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../$_")) foreach 'oracle_duplicates.sql', 'oracle_measures.sql';

sub one_of { return $_[ rand @_ ]; }

my @names     = qw(sum count min max latest unique counter octets requests);	# the last three are counters
my @values     = ('0', '1', '2.50', '10', '10.0', '-3', '0.001', '123456789012345678901.5', '7', '7.00', '999999999999999999');
my @places     = (
	[ 'UTC',              '2024-03-04T20:00:00Z' ],
	[ 'UTC',              '2024-03-04T20:00:00Z' ],
	[ 'UTC',              '1969-12-31T10:00:00Z' ],
	[ 'America/New_York', '2024-03-09T20:00:00Z' ],
	[ 'Asia/Kolkata',     '2024-02-28T12:00:00Z' ]);
my @grids = (([ '1 hour', 16 ]) x 3, [ '15 minutes', 4 ], [ '1 day', 80 ], [ '1 week', 400 ], [ '1 month', 900 ]);

# Seconds into the history: often the same as others, often on the grid.
sub moment
{
	my ($hours) = @_;
	my $second = int(rand($hours * 3600));
	my $how = rand();
	$second -= $second % 3600 if $how < 0.2;
	$second -= $second % 600  if $how < 0.6;
	return $second;
}

sub world
{
	my ($w) = @_;
	srand($seed + $w);
	my $stream = "world$w";
	my ($timezone, $begin) = @{ one_of(@places) };
	my ($period, $hours) = @{ one_of(@grids) };
	my ($window, $apart) = @{ one_of([ '1 day', 86400 ], [ '1 day', 86400 ], [ '1 hour', 3600 ], [ '0', 0 ], [ '3 days', 259200 ]) };
	my $script = '';
	my $ids    = one_of(0, 0.3, 0.8);
	my $owned  = one_of(0, 0.3, 0.9);
	my $at     = sub { sprintf("'%s'::timestamptz + interval '%s seconds'", $begin, $_[0]) };

	my @meters;
	my $modulus = one_of(1000, 256, '99.5');
	foreach my $name (@names)
	{
		my $aggregate = $name =~ /octets|requests/ ? 'counter' : $name;
		my %meter = (
			aggregate  => $aggregate,
			entity     => one_of(undef, undef, 'ip'),
			dimensions => one_of('{}', '{offering}', '{source}', '{zone,entity}'),
			period     => $period,
			timezone   => $timezone,
			value_from => ($aggregate ne 'count' && rand() < 0.2 ? 'n' : 'value'));
		%meter = (%meter, begins => one_of(undef, 'zero', 'start', 'start'), modulus => one_of(undef, $modulus, $modulus), drops => one_of(undef, 'reset', 'ignore'))
		  if $aggregate eq 'counter';
		my $since = rand() < 0.3 ? "oracle.slice_begin('$begin'::timestamptz + interval '" . int(rand($hours / 2)) . " hours', '$period', '$timezone')" : 'NULL';
		my $define = join(', ', meter_arguments(\%meter), "since => $since");
		my $clock = one_of('wall', 'wall', 'event');
		push @meters, { name => $name, define => $define, clock => $clock,
			create => "SELECT meter.create_meter('$stream', '$name', $define, clock => '$clock', lateness => "
			  . one_of("'0'", "'0'", "'90 minutes'") . ', max_lateness => ' . one_of('NULL', 'NULL', "'1 day'", "'3 hours'") . ");\n" };
	}

	# rows: [seconds at which it happens, table, text]
	my @rows;
	foreach my $r (1 .. 5)
	{
		my $named = one_of(0, 1, 1);
		foreach (1 .. 2 + int(rand(12)))
		{
			my $start  = moment($hours);
			my $length = one_of(0, 0, 300, 600, 3600, int(rand(7200)), int(rand($hours * 3600)));
			my $id     = rand() < $ids ? 'i' . int(rand(8)) : undef;
			my $source = one_of(undef, 's', '');
			my @what   = (literal($source), literal($id), literal("r$r"), literal(rand() < $owned ? one_of('A', 'B', '') : undef),
				literal(one_of(undef, 'ip', 'ip', 'port')), literal(rand() < 0.1 ? undef : one_of(@values)),
				literal(one_of(undef, '{"zone": "z", "n": 12}', '{"n": 1.50, "offering": "o"}', '{"n": "1.5"}', '{"zone": null, "n": null}')));
			foreach (1 .. (defined $id && rand() < 0.5 ? 1 + int(rand(3)) : 1))
			{
				push @rows, [ $start, 'measure', join(', ', $at->($start), $at->($start + $length), @what) ];
				# taken back: at its time, at the window's edges, or out of reach
				push @rows, map { [ max($_, 0), 'event', join(', ', $at->($_), literal($source), literal($id), literal("r$r"), 'NULL', "'void'", 'NULL', 'NULL') ] }
				  map { my $time = $start + one_of(0, 0, -$apart, $apart, -$apart - 1, $apart + 1, int(rand(4 * $apart + 2)) - 2 * $apart); ($time) x one_of(1, 1, 2) } 1 .. one_of(1, 1, 2)
				  if defined $id && rand() < 0.1;
				# a duplicate that differs
				$start  = max(0, $start + one_of(0, 0, -600, 600, 3600, int(rand(90000)) - 45000)) if rand() < 0.7;
				$length = one_of($length, 0, 600) if rand() < 0.3;
				$what[5] = literal(one_of(@values)) if rand() < 0.3;
			}
		}
		foreach (1 .. int(rand(8)))
		{
			my $time = moment($hours);
			my $action = rand() < 0.15 ? 'void' : one_of('start', 'change', 'stop', 'transfer');
			my $id = $action eq 'void' || rand() < $ids ? 'i' . int(rand(8)) : undef;
			push @rows, [ $time, 'event', join(', ', $at->($time), literal(one_of(undef, 's', '')), literal($id), literal(one_of("r$r", "c$r")),
					literal($named && rand() < 0.7 ? one_of('A', 'B', 'b', '') : undef), literal($action), literal(one_of(undef, undef, '', 'ip', 'port')),
					literal(one_of(undef, undef, 0, 1, 2))) ];
		}

		# a counter: what it counts since it began, at each reading; some are wrong, stale, doubled or from before
		my ($count, $began, $time) = (one_of(0, 50), undef, moment($hours / 2));
		my @of = (literal(one_of("c$r", "c$r", "r$r")), literal(rand() < $owned ? 'A' : undef), literal(one_of(undef, 'ip', 'ip')));
		my $knows = one_of(0, 0.5, 1);	# how often it says since when
		foreach (1 .. int(rand(15)))
		{
			$began = $time, $time += 1 + int(rand(600)), $count = 0 if !defined $began || rand() < 0.15;
			$count += one_of(0, 1, 7, '0.25', int(rand(120)));
			my $reading = rand() < 0.1 ? one_of(0, -1, 5, $modulus, 2 * $modulus) : rand() < 0.1 ? max(0, $count - int(rand(20))) : $count;
			$reading -= $modulus * int($reading / $modulus) if $count > 0 && rand() < 0.8;
			my $start = rand() < $knows ? $began + one_of(0, 0, 0, -1, 1, -2, -3600) : $time;
			my ($source, $id) = (one_of(undef, 's'), rand() < $ids ? 'c' . int(rand(30)) : undef);
			my $line = [ $time, 'measure', join(', ', $at->(min($start, $time)), $at->($time), literal($source), literal($id), @of, literal($reading),
					literal(one_of(undef, undef, '{"zone": "z"}'))) ];
			push @rows, ($line) x one_of(1, 1, 1, 2);
			push @rows, map { [ max($_, 0), 'event', join(', ', $at->($_), literal($source), literal($id), $of[0], 'NULL', "'void'", 'NULL', 'NULL') ] }
			  $time + one_of(0, 0, -$apart, $apart, -$apart - 1, $apart + 1) if defined $id && rand() < 0.1;
			$time += one_of(0, 0, 1, 300, 3600, int(rand($hours * 600)));
		}
	}

	# one resource has labels of 60 kB: too many for its share of memory
	my $share = rand() < 0.4;
	if ($share)
	{
		my $much = moment($hours);
		foreach my $i (1 .. 6)
		{
			my $start = rand() < 0.8 ? $much : moment($hours);
			push @rows, [ $start, 'measure', join(', ', $at->($start), $at->($start + one_of(0, 0, 900)), "'s', NULL, 'r5', 'A', 'ip'", literal(one_of(@values)),
					"jsonb_build_object('zone', '$i' || repeat('z', 60000))") ];
		}
		$script .= "SET meter.resource_memory = '256kB';\n";
	}

	# batches: roughly in order, or not at all
	my $rounds = one_of(1, 3, 6, 10);
	my $loose = one_of(0.05, 0.5, 5);
	my @sorted = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ $_->[0] / ($hours * 3600) + (rand() - 0.5) * $loose, $_ ] } @rows;
	my @batches;
	push @{ $batches[ min($rounds - 1, int($_ * $rounds / @sorted)) ] }, $sorted[$_] foreach 0 .. $#sorted;
	my %rewound;
	my %asked = map { $_ => 1 } grep { $_ == $rounds || rand() < 3 / $rounds } 1 .. $rounds;

	my $late_meter = one_of(1, 1, $rounds);
	my $rolls = one_of(0, 1);		# rows and their duplicates lie in different segments
	$script .= 'SET meter.batch_rows = ' . one_of(1000000, 1000000, 1, 7) . ";\n";
	my $latest = 0;
	foreach my $round (1 .. $rounds)
	{
		$script .= $meters[$_]{create} foreach grep { $round == ($_ == 0 ? $late_meter : 1) } 0 .. $#meters;
		foreach my $table ('measure', 'event')
		{
			my @batch = map { $_->[2] } grep { $_->[1] eq $table } @{ $batches[ $round - 1 ] || [] } or next;
			$script .= "INSERT INTO $stream.$table ("
			  . ($table eq 'measure' ? 'start_time, end_time, source, id, resource, account, entity, value, attributes' : '"time", source, id, resource, account, action, entity, sequence')
			  . ") VALUES\n" . join(",\n", map { "($_)" } @batch) . ";\n";
		}
		my $now = $round == $rounds ? $hours * (1 + rand()) : $hours * $round / $rounds + (rand() < 0.3 ? -$hours / 3 : 0);
		my $instant = "'$begin'::timestamptz + interval '" . int($now * 60) . " minutes'";
		$script .= "SELECT set_config('meter.now', ($instant)::text, false) IS NULL;\n";
		$script .= "SELECT meter.roll('$stream');\n" if $rolls && rand() < 0.5;
		if (rand() < 0.25)
		{
			$rewound{$round} = 1;
			$script .= rewind_some($stream, "world $w round $round rewind") . "SELECT 'world $w round $round rewound', count(*) FROM meter.verify('$stream');\n";
		}
		my $step = $round < $rounds && !$asked{$round} && rand() < 0.5;
		$script .= "SELECT meter.release_resource('$stream', meter, resource) FROM $stream.quarantine;\n" if $share && rand() < 0.3;
		$script .= "SELECT meter.discard('$stream', meter, array_agg(arrival) FILTER (WHERE arrival % 3 = 0)) FROM $stream.held GROUP BY meter;\n" if rand() < 0.2;
		$script .= $step ? "SELECT FROM meter.advance('$stream');\n" : "CALL meter.run('$stream');\n";
		$script .= "SELECT 'world $w round $round verify', count(*) FROM meter.verify('$stream');\n";
		next unless $asked{$round};
		if ($round == $rounds && rand() < 0.5)
		{
			# a meter all of whose rows were held begins with them
			$script .= "SELECT meter.release('$stream', name) FROM meter.meter WHERE stream = '$stream';\nCALL meter.run('$stream');\n";
			$script .= "SELECT 'world $w round $round verify released', count(*) FROM meter.verify('$stream');\n";
		}
		foreach my $m (@meters)
		{
			next if $round < $late_meter && $m == $meters[0];
			$script .= "SELECT 'world $w round $round $m->{name}', oracle.measure_differences('$stream', '$m->{name}', oracle.define($m->{define}));\n";
			$script .= "SELECT 'world $w round $round $m->{name} live', oracle.measure_differences('$stream', '$m->{name}', oracle.define($m->{define}), $instant) "
			  . "FROM meter.meter WHERE stream = '$stream' AND name = '$m->{name}' AND watermark < $instant;\n" if $m->{clock} eq 'wall' && !$share; # what is not settled may be what takes too much memory
		}
	}
	$script .= release_aside($w, $stream, sub { "oracle.measure_differences('$stream', '$_[0]{name}', oracle.define($_[0]{define}))" }, @meters) if $share;
	$script .= "SELECT 'world $w again', (SELECT sum(usage_rows + adjustments + late_rows) FROM meter.advance('$stream'));\n";
	$script .= "SELECT 'world $w resettle', (SELECT sum(meter.resettle('$stream', name)) FROM meter.meter WHERE stream = '$stream');\n";
	$script .= "SELECT meter.drop_stream('$stream', true);\n" unless $ENV{METER_KEEP};

	# settled by rules that the server has no longer
	$script = "SELECT meter.create_stream('$stream', '$window');\n" . recorded_days($stream, $timezone, $begin, $hours) . $script;
	my $answer = answers($node, $script);
	subtest "world $w: $period in $timezone, duplicates within $window, $rounds rounds of " . @rows . ' rows' => sub {
		foreach my $round (1 .. $rounds)
		{
			if ($rewound{$round})
			{
				like($answer->{"world $w round $round rewind"}, qr/^\d+$/, "round $round: watermarks are taken back");
				is($answer->{"world $w round $round rewound"}, '0', "round $round: verify is empty then");
			}
			is($answer->{"world $w round $round verify"}, '0', "round $round: verify is empty");
			next unless $asked{$round};
			foreach my $m (@meters)
			{
				next if $round < $late_meter && $m == $meters[0];
				is($answer->{"world $w round $round $m->{name}"}, '', "round $round: $m->{name} as the oracle says")
				  or diag("METER_SEED=$seed METER_WORLD=$w: $m->{create}");
				is($answer->{"world $w round $round $m->{name} live"} // '', '', "round $round: $m->{name} up to now as the oracle says")
				  or diag("METER_SEED=$seed METER_WORLD=$w: $m->{create}");
			}
		}
		is($answer->{"world $w round $rounds verify released"} // 0, '0', 'verify is empty when held rows count');
		aside_is_right($answer, $w, @meters) if $share;
		is($answer->{"world $w again"}, '0', 'a second settle has nothing to do');
		is($answer->{"world $w resettle"}, '0', 'nor has a resettle');
	};
}

world($_) foreach @numbers;
$node->stop;
done_testing();
