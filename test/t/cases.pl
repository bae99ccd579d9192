# Promise: the decided cases come out as decided, in one settle, in a settle an hour, and with the events in any order.
#
# Each case of kind duration is asked in every way there is: of the oracle (so that the oracle itself is tested), of the SQL
# functions over a timeline, and of a stream. There its events happen to five resources, which differ in when they arrive:
#   ahead     all before the first settle: what lies ahead of the clock must not count yet;
#   live      each in the hour it happened;
#   random1…  at any time, before it happens or long after.
# One meter settles every hour, another one all at once when everything has arrived; both must say the same of each.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use List::Util qw(min shuffle uniq);
use Test::More;

my $semantic = read_cases('semantic_cases.json');
my $peers    = read_cases('peer_cases.json');
my $seed     = seed();
my $node     = start_server('cases');
my $script   = '';
my %title    = map { $_->{id} => $_->{title} // $_->{name} } @{ $semantic->{cases} }, @$peers;
my (@checks, %skipped);

# An instant as the cases write it.
my $instant = q(replace(to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.USZ'), '.000000', ''));

# Adds a query whose answer, a single value, must be `expected`.
sub check
{
	my ($name, $expected, $query) = @_;
	push @checks, [ $name, $expected ];
	$script .= "SELECT " . literal($name) . ", coalesce(($query)::text, '(null)');\n";
}

sub expected_usage
{
	my (@rows) = @_;
	return join('; ',
		map  { "$_->{period_start} $_->{account} " . ($_->{label} // '?') . ' ' . number($_->{quantity}) }
		sort { $a->{period_start} cmp $b->{period_start} or $a->{account} cmp $b->{account} or $a->{label} cmp $b->{label} } @rows);
}

# Spans as decided, by account, label and value, or by label and value alone; equal neighbours joined.
sub expected_spans
{
	my ($spans, $by_account) = @_;
	my @joined;
	foreach my $s (sort { $a->{from} cmp $b->{from} } @$spans)
	{
		my $key = join(' ', ($by_account ? $s->{account} // '' : ()), $s->{label} // '?', number($s->{value}) // '?');
		if (@joined && $joined[-1]{key} eq $key && defined $joined[-1]{to} && $joined[-1]{to} eq $s->{from})
		{
			$joined[-1]{to} = $s->{to};
		}
		else
		{
			push @joined, { key => $key, from => $s->{from}, to => $s->{to} };
		}
	}
	my $text = join('; ', map { "$_->{from} " . ($_->{to} // 'open') . " $_->{key}" } @joined);
	$text =~ s/(:\d\d\.\d+?)0*Z/$1Z/g;
	return $text;
}

sub span_text
{
	my ($from, $begins, $ends, $columns) = @_;
	return "SELECT coalesce(string_agg(" . sprintf($instant, $begins) . " || ' ' || coalesce(" . sprintf($instant, $ends)
	  . ", 'open') || ' ' || $columns, '; ' ORDER BY $begins), '') FROM $from";
}

sub stream_name
{
	my ($id) = @_;
	(my $name = "case_$id") =~ s/\W/_/g;
	return $name;
}

sub create_stream
{
	my ($stream) = @_;
	$script .= "SELECT FROM meter.create_stream('$stream');\n";
}

sub create_meter
{
	my ($stream, $name, $meter) = @_;
	$script .= "SELECT FROM meter.create_meter('$stream', '$name', "
	  . join(', ', "starts => '{start}'", "stops => '{stop}'", "changes => '{change}'", "lateness => '0'", "max_lateness => NULL",
		meter_arguments($meter))
	  . ");\n";
}

sub settle
{
	my ($stream, $meter, $now) = @_;
	$script .= "SET meter.now = '$now'; SELECT FROM meter.advance('$stream', '$meter');\n";
}

# What the ledger says of a resource.
sub check_usage
{
	my ($name, $stream, $meter, $resource, $usage) = @_;
	check($name, expected_usage(@$usage),
		usage_text("(SELECT * FROM $stream.usage_total WHERE meter = '$meter' AND resource = '$resource') u"));
}

# A stream is where it should be, and a second settle has nothing to do.
sub check_stream
{
	my ($name, $stream, $watermark) = @_;
	check("$name watermark", $watermark,
		"SELECT string_agg(DISTINCT coalesce(last_error, " . sprintf($instant, 'watermark') . "), '; ') FROM meter.status WHERE stream = '$stream'");
	check("$name again", '0', "SELECT sum(usage_rows + adjustments + late_rows) FROM meter.advance('$stream')");
	check("$name verify", '0', "SELECT count(*) FROM meter.verify('$stream')");
}

sub timeline
{
	my ($events, %with) = @_;
	return "(SELECT meter.timeline(t, active" . ($with{value} ? ', label, value' : ', label') . ") FROM (VALUES "
	  . join(', ',
		map {
			'(' . join(', ', literal($_->{time}) . '::timestamptz', { start => 'true', stop => 'false', change => 'NULL::boolean' }->{ $_->{kind} },
				literal($_->{label}) . '::text', literal(number($_->{value})) . '::numeric') . ')'
		} @$events)
	  . ") e (t, active, label, value))";
}

# What of semantic_cases.json can be asked already.
my %covered = (
	duration       => sub { !$_[0]{snapshots} },
	adjust         => sub { !@{ $_[0]{late_snapshots} || [] } },
	grid           => sub { 1 },
	transaction_id => sub { 1 });

foreach my $case (@{ $semantic->{cases} })
{
	my $id = $case->{id};
	if (!$covered{ $case->{kind} } || !$covered{ $case->{kind} }->($case))
	{
		$skipped{"semantic $case->{kind}"}++;
		next;
	}
	$script .= "\\warn # $id: $case->{title}\n" if $ENV{METER_VERBOSE};
	my %meter = (%{ $semantic->{defaults} }, %{ $case->{meter} });
	my ($from, $to) = @{ $case->{window} || [] };

	if ($case->{kind} eq 'duration')
	{
		my $watermark = $case->{watermark} // $to;
		my @usage     = @{ $case->{expected}{usage} };
		my $weighted  = $meter{aggregate} eq 'weighted';
		my $on_grid   = $id ne 'b21';		# its window begins and ends within periods: for the SQL functions only

		# the oracle
		$script .= "TRUNCATE oracle_log;\n" . insert_events('oracle_log', @{ $case->{events} });
		my $define = 'oracle.define(' . join(', ', "changes => '{change}'", meter_arguments(\%meter)) . ')';
		check("$id oracle usage", expected_usage(@usage), usage_text("oracle.usage('oracle_log', $define, '$watermark')"))
		  if $on_grid;
		check("$id oracle spans", expected_spans($case->{expected}{spans}, 1),
			span_text("oracle.spans('oracle_log', $define, '$watermark', true)", 'begins', 'ends',
				"account || ' ' || coalesce(dims[1], '?') || ' ' || coalesce(value::text, '?')"))
		  if $on_grid;

		# the SQL functions: they have no account, so both sides leave it out; a duration is not about values
		my @past = grep { !defined $case->{watermark} || $_->{time} lt $watermark } @{ $case->{events} };
		my $timeline = timeline(\@past, value => 1);
		check("$id timeline spans", expected_spans($case->{expected}{spans}, 0),
			span_text("meter.spans($timeline)", 'lower(during)', 'upper(during)', "coalesce(label, '?') || ' ' || coalesce(trim_scale(value)::text, '?')"));
		my $since = $meter{since} // $from;
		my %billed;
		$billed{"$_->{period_start} $_->{label}"} += $_->{billed_seconds} foreach @usage;
		$timeline = timeline(\@past, value => $weighted);
		my $periods = sprintf("meter.periods(%s, tstzrange('%s', '%s'), '%s', '%s', '%s', '%s')", $timeline, $since, $watermark,
			@meter{qw(period increment rounding timezone)});
		# (a value that was never named is billed time, though of quantity 0)
		check("$id periods billed", join('; ', map { "$_ $billed{$_}" } sort keys %billed),
			"SELECT coalesce(string_agg(p || ' ' || label || ' ' || b, '; ' ORDER BY p, label COLLATE \"C\"), '') FROM (SELECT "
			  . sprintf($instant, 'period_start') . " AS p, label, trim_scale(extract(epoch FROM sum(billed))) AS b FROM $periods"
			  . ($weighted ? ' WHERE value <> 0' : '') . " GROUP BY 1, 2) q");
		if ($weighted)
		{
			check("$id periods weighted", number($case->{expected}{total}),
				"SELECT trim_scale(sum(extract(epoch FROM billed) / 60 * value)) FROM $periods");
			check("$id weighted", number($case->{expected}{total}), "SELECT trim_scale(meter.weighted($timeline, tstzrange('$since', '$watermark'), '1 minute'))")
			  if $meter{rounding} eq 'none';
		}
		else
		{
			my $total = 0;
			$total += $_->{billed_seconds} foreach @usage;
			check("$id duration", number($total), sprintf("SELECT trim_scale(extract(epoch FROM meter.duration(%s, tstzrange('%s', '%s'), '%s', '%s')))",
					$timeline, $since, $watermark, @meter{qw(increment rounding)}))
			  if $meter{timezone} eq 'UTC';
		}
		foreach my $s (@{ $case->{expected}{spans} })
		{
			check("$id active at $s->{from}", 'true', "SELECT meter.active_at($timeline, '$s->{from}')");
			check("$id active at end $s->{to}", (grep { $_->{from} eq $s->{to} } @{ $case->{expected}{spans} }) ? 'true' : 'false',
				"SELECT meter.active_at($timeline, '$s->{to}')") if defined $s->{to};
		}
		next unless $on_grid;

		# the stream
		my @hours;
		for (my $t = seconds($from) + 3600; $t <= seconds($watermark); $t += 3600)
		{
			push @hours, stamp($t);
		}
		my $stream = stream_name($id);
		my @arrives;		# by hour; those of the last arrive when all is settled
		foreach my $e (@{ $case->{events} })
		{
			push @{ $arrives[0] }, { %$e, resource => 'ahead' };
			push @{ $arrives[ min(scalar(@hours), scalar(grep { $_ le $e->{time} } @hours)) ] }, { %$e, resource => 'live' };
			push @{ $arrives[ rand(@hours + 1) ] }, { %$e, resource => "random$_" } foreach 1 .. 3;
		}
		create_stream($stream);
		create_meter($stream, 'hourly', \%meter);
		foreach my $n (0 .. @hours)
		{
			$script .= insert_events("$stream.event", shuffle @{ $arrives[$n] || [] });
			settle($stream, 'hourly', $hours[$n] // $watermark);
		}
		create_meter($stream, 'once', \%meter);
		settle($stream, 'once', $watermark);
		foreach my $resource ('ahead', 'live', map { "random$_" } 1 .. 3)
		{
			check_usage("$id $_ $resource", $stream, $_, $resource, \@usage) foreach 'hourly', 'once';
		}
		check_stream($id, $stream, $watermark);
		$script .= "SELECT FROM meter.drop_stream('$stream', true);\n";
	}
	elsif ($case->{kind} eq 'adjust')
	{
		my $stream = stream_name($id);
		my $watermark_after = $case->{watermark_after} // $case->{watermark};
		create_stream($stream);
		create_meter($stream, 'm', \%meter);
		$script .= insert_events("$stream.event", @{ $case->{events} });
		settle($stream, 'm', $case->{watermark});
		check_usage("$id before", $stream, 'm', 'r1', $case->{expected}{before}{usage});
		check_stream("$id before", $stream, $case->{watermark});
		$script .= "SELECT coalesce(max(settlement), 0) AS settled FROM $stream.usage \\gset\n";
		$script .= insert_events("$stream.event", @{ $case->{late} });
		settle($stream, 'm', $watermark_after);
		check("$id adjustments", expected_usage(@{ $case->{expected}{adjustments} }),
			usage_text("(SELECT * FROM $stream.usage WHERE settlement > :settled AND period_start < '$case->{watermark}') u"));
		check_usage("$id after", $stream, 'm', 'r1', $case->{expected}{after});
		check_stream("$id after", $stream, $watermark_after);
		$script .= "SELECT FROM meter.drop_stream('$stream', true);\n";
	}
	elsif ($case->{kind} eq 'grid')
	{
		my @want = map { "$_->[0] $_->[2]" } @{ $case->{expected}{periods} };
		foreach my $rounding ('none', 'up', 'down', 'nearest')
		{
			check("$id periods $rounding", join('; ', @want),
				"SELECT string_agg(" . sprintf($instant, 'period_start') . " || ' ' || trim_scale(extract(epoch FROM billed)), '; ' ORDER BY period_start)"
				  . sprintf(" FROM meter.periods((SELECT meter.timeline('2001-01-01Z'::timestamptz, true)), tstzrange('%s', '%s'), '%s', '1 minute', '%s', '%s')",
					$from, $to, $meter{period}, $rounding, $meter{timezone}));
		}
		check("$id oracle", join('; ', @want),
			"WITH RECURSIVE p AS (SELECT * FROM oracle.slice_of('$from', '$meter{period}', '$meter{timezone}') UNION ALL "
			  . "SELECT n.* FROM p, oracle.slice_of(p.ends, '$meter{period}', '$meter{timezone}') n WHERE p.ends < '$to') "
			  . "SELECT string_agg(" . sprintf($instant, 'begins') . " || ' ' || trim_scale(extract(epoch FROM ends - begins)), '; ' ORDER BY begins) FROM p");
	}
	else
	{
		my $in = $case->{input};
		check("$id transaction_id", $case->{expected}{transaction_id},
			sprintf('SELECT meter.transaction_id(%s, %s, %s, %s, %s::jsonb, %s::timestamptz, %d)',
				(map { literal($_) } @$in{qw(stream meter resource account)}, JSON::PP->new->canonical->encode($in->{dimensions}), $in->{period_start}),
				$in->{revision}));
	}
}

# Other systems' cases.
foreach my $case (@$peers)
{
	my ($id, $kind) = @$case{qw(id kind)};
	my ($from, $to) = @{ $case->{window} };
	my $during = defined $from ? "tstzrange('$from', '$to')" : undef;
	my $rows = sub {
		my ($columns, $row, @events) = @_;
		return '(VALUES ' . join(', ', map { $row->($_) } @events) . ") e ($columns)";
	};

	if ($kind eq 'pairing' && $case->{unit} eq 'MB-seconds')
	{
		my %active = (start => 'true', stop => 'false', scale => 'NULL');
		check("$id weighted", number($case->{expected}), "SELECT trim_scale(meter.weighted((SELECT meter.timeline(t, a, NULL, v) FROM "
			  . $rows->('t, a, v', sub { "('$_[0]{time}'::timestamptz, $active{ $_[0]{action} }::boolean, " . literal($_[0]{memory_mb}) . '::numeric)' }, @{ $case->{events} })
			  . "), $during))");
	}
	elsif ($kind eq 'pairing')
	{
		check("$id duration", number($case->{expected}), "SELECT trim_scale(extract(epoch FROM meter.duration((SELECT meter.timeline(t, a) FROM "
			  . $rows->('t, a', sub { "('$_[0]{time}'::timestamptz, " . ($_[0]{action} eq 'start' ? 'true' : 'false') . ')' }, @{ $case->{events} })
			  . "), $during)))");
	}
	elsif ($kind eq 'state_duration')
	{
		my @events = @{ $case->{events} };
		unshift @events, { time => $from, state => $case->{carry_in_state} } if defined $case->{carry_in_state};
		check("$id duration", number($case->{expected}), "SELECT trim_scale(extract(epoch FROM meter.duration((SELECT meter.timeline(t, a) FROM "
			  . $rows->('t, a', sub { "('$_[0]{time}'::timestamptz, " . ($_[0]{state} eq $case->{state} ? 'true' : 'false') . ')' }, @events)
			  . ")" . (defined $during ? ", $during" : '') . ")))");
	}
	elsif (($kind eq 'time_weight' && $case->{name} !~ /Linear/) || $kind eq 'weighted_segment')
	{
		my @events = @{ $case->{events} };
		unshift @events, { time => $from, value => $case->{carry_in_value} } if defined $case->{carry_in_value};
		my $unit = $case->{unit} eq 'unit-hours' ? "interval '1 hour'"
		  : $case->{unit} eq 'unit-month' ? "make_interval(hours => 24 * $case->{period_days})"
		  :                                 "'$to'::timestamptz - '$from'::timestamptz";
		my $weighted = "meter.weighted((SELECT meter.timeline(t, true, NULL, v) FROM "
		  . $rows->('t, v', sub { "('$_[0]{time}'::timestamptz, " . literal($_[0]{value}) . '::numeric)' }, @events) . "), $during, $unit)";
		if ($kind eq 'weighted_segment')
		{
			check("$id weighted", 'true', "SELECT abs($weighted - $case->{expected}) < 0.00001");
		}
		else
		{
			check("$id weighted", number($case->{expected}), "SELECT trim_scale($weighted)");
		}
	}
	elsif ($kind eq 'window_length')
	{
		check("$id periods", number($case->{expected}), "SELECT string_agg(trim_scale(extract(epoch FROM billed))::text, '; ')"
			  . " FROM meter.periods((SELECT meter.timeline('2001-01-01Z'::timestamptz, true)), $during, '1 day', '1 minute', 'none', '$case->{time_zone}')");
	}
	elsif ($kind eq 'late_stop' || $kind eq 'tie_break')
	{
		my $stream = stream_name($id);
		my @events = map { { %$_, kind => $_->{action}, account => 'A', label => $_->{plan} // 's' } } @{ $case->{events} };
		create_stream($stream);
		create_meter($stream, 'm', { unit => '1 second', period => $kind eq 'late_stop' ? '1 month' : '1 day' });
		$script .= insert_events("$stream.event", grep { !$_->{arrives} } @events);
		settle($stream, 'm', $to);
		if ($kind eq 'late_stop')
		{
			my %july = (period_start => $from, account => 'A', label => 's');
			check_usage("$id before", $stream, 'm', 'r1', [ { %july, quantity => $case->{expected_before_correction} } ]);
			$script .= insert_events("$stream.event", grep { $_->{arrives} } @events);
			settle($stream, 'm', '2022-09-01T00:00:00Z');		# August is 0: no row
			check_usage("$id after", $stream, 'm', 'r1', [ { %july, quantity => $case->{expected} } ]);
			check("$id adjustment", $case->{expected_adjustment}, "SELECT string_agg(trim_scale(quantity)::text, '; ') FROM $stream.usage WHERE revision > 0");
			check_stream($id, $stream, '2022-09-01T00:00:00Z');
		}
		else
		{
			my %on = (A => $case->{expected}, B => 3 * 3600);		# and B from 06:00 to 09:00: it does not escape billing
			check_usage("$id on its plans", $stream, 'm', 'r1',
				[ map { { period_start => $from, account => 'A', label => $_, quantity => $on{$_} } } sort keys %on ]);
			check_stream($id, $stream, $to);
		}
		$script .= "SELECT FROM meter.drop_stream('$stream', true);\n";
	}
	else
	{
		$skipped{"peer $kind"}++;
	}
}

note("skipped: " . join(', ', map { "$skipped{$_} $_" } sort keys %skipped));
my $answer = answers($node, <<"SQL");
CREATE TEMP TABLE oracle_log (source text, id text, "time" timestamptz, sequence bigint, resource text, account text, entity text, action text,
	offering text, value numeric, attributes jsonb);
$script
SQL
my %checks_of;
push @{ $checks_of{ (split / /, $_->[0])[0] } }, $_ foreach @checks;
foreach my $id (uniq(map { (split / /, $_->[0])[0] } @checks))
{
	subtest "$id $title{$id}" => sub { is($answer->{ $_->[0] }, $_->[1], $_->[0]) foreach @{ $checks_of{$id} } };
}

$node->stop;
done_testing();
