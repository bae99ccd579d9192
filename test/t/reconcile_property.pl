# Promise: whatever is lost, late or doubled, in whatever order snapshots of several sources and events become known, settles in between
# included, the ledger says what follows from the events and the snapshots that there are; and once the lost events arrive, with
# snapshots that are true, what really happened.
#
# Worlds of resources of two or three sources whose clocks differ. A resource goes from one source to another when it starts, or while it
# runs; some are in the snapshots of two. Runs have minimums and signs of life, some resources end for good, accounts change by actions that no
# meter lists and are released; a meter of measures asks who owns what was measured. The oracle (oracle_snapshots.sql) computes usage from the log and the inventory; it does not look
# at what the engine made of them.
#
#   METER_SEED=n   the same worlds again       METER_WORLD=n   only that world       METER_RANDOM=n   so many worlds instead of 7
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use File::Basename qw(dirname);
use List::Util qw(shuffle max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed    = seed();
my $node    = start_server('reconcile_property');
my $home    = dirname($FindBin::RealBin);
my @numbers = $ENV{METER_WORLD} ? ($ENV{METER_WORLD}) : (1 .. ($ENV{METER_RANDOM} || 7));

$node->safe_psql('postgres', slurp_file("$home/$_")) foreach 'oracle_duplicates.sql', 'oracle_measures.sql', 'oracle_snapshots.sql';
$node->safe_psql('postgres', <<'SQL');
-- What the oracle says that a meter has to say up to an instant; with oracle.plain on, what the events alone say.
CREATE FUNCTION owed(stream text, meter text, definition oracle.meter, up_to timestamptz)
RETURNS TABLE (period_start timestamptz, resource text, account text, dimensions jsonb, quantity numeric) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('oracle.stream', CASE current_setting('oracle.plain', true) WHEN 'on' THEN '' ELSE stream END, false), set_config('oracle.meter', meter, false);
	IF definition.aggregate = 'sum' THEN
		RETURN QUERY SELECT * FROM oracle.measure_usage(stream, definition, up_to, '1 day', '{}', '{}');
	ELSE
		DROP TABLE IF EXISTS pg_temp.counted;
		EXECUTE format('CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted(''%I.event'', ''1 day'', ''{}'')', stream);
		RETURN QUERY SELECT * FROM oracle.usage('pg_temp.counted', definition, up_to);
	END IF;
	PERFORM set_config('oracle.stream', '', false);
END $$;

-- '' where the ledger of a meter is what the oracle says at its watermark, else what differs; with `live`, what current_usage says up to then.
CREATE FUNCTION compare(stream text, meter text, definition oracle.meter, live timestamptz DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	up_to timestamptz;
	differs text;
BEGIN
	SELECT CASE WHEN m.watermark IS NOT NULL THEN coalesce(live, m.watermark) END INTO up_to FROM meter.meter m WHERE m.stream = compare.stream AND m.name = compare.meter;
	IF up_to IS NULL THEN
		RETURN '';
	END IF;
	EXECUTE format('SELECT string_agg(format(''%%s %%s %%s %%s: ledger %%s, oracle %%s'', period_start, resource, account, dimensions,
			coalesce(l.quantity, 0), coalesce(o.quantity, 0)), ''; '' ORDER BY resource, period_start)
		FROM (SELECT period_start, resource, account, dimensions, sum(quantity) AS quantity FROM %I.%I
			WHERE meter = $1 GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0) l
		FULL JOIN owed($2, $1, $3, $4) o USING (period_start, resource, account, dimensions)
		WHERE l.quantity IS DISTINCT FROM o.quantity', stream, CASE WHEN live IS NULL THEN 'usage' ELSE 'current_usage' END)
		INTO differs USING meter, stream, definition, up_to;
	RETURN coalesce(meter || ' up to ' || up_to || ': ' || left(differs, 1500), '');
END $$;
SQL

sub one_of { return $_[ rand @_ ]; }

my $begin = seconds('2024-03-05T00:00:00Z');

# An instant of a world, in seconds from its begin, as a literal.
sub at { return "'" . stamp($begin + $_[0]) . "'"; }

sub world
{
	my ($w) = @_;
	srand($seed + $w);
	my $stream = "world$w";
	my $hours  = one_of(4, 6, 10);
	my $honest = rand() < 0.5;		# snapshots are whole and their clocks right
	my %skew   = (a => 0, b => $honest ? 0 : one_of(0, 30, 200, -200), c => 0);
	my @sources = rand() < 0.7 ? ('a', 'b') : ('a', 'b', 'c');
	my $moves  = one_of(0, 0.1, 0.3);	# how often a resource goes to another source
	my $double = $honest ? 0 : one_of(0, 0, 0.1, 0.5);	# how often a snapshot has what is another source's, too
	my @meters = map {
		my %m = (
			aggregate  => one_of('duration', 'duration', 'weighted', 'runs'),
			starts     => '{start}', stops => '{stop}', changes => '{change}', ends => '{end}',
			entity     => one_of(undef, 'vm'),
			liveness   => one_of(undef, undef, '20 minutes', '1 hour', '3 hours'),
			dimensions => one_of('{offering}', '{offering}', '{}', '{zone,offering}'));
		if ($m{aggregate} ne 'runs')
		{
			%m = (%m, unit => '1 second', rand() < 0.3 ? (rounding_of => 'run', increment => one_of('7 minutes', '1 hour', '1 minute')) : (rounding => one_of('none', 'none', 'up', 'down', 'nearest')));
			$m{minimum} = one_of('10 minutes', '2 hours') if rand() < 0.5 && ($m{rounding_of} || $m{rounding} eq 'none');
		}
		{ name => $_, entity => $m{entity}, define => join(', ', meter_arguments(\%m)) };
	} 'm1', 'm2';
	push @meters, { name => 'm3', define => join(', ', meter_arguments({ aggregate => 'sum', entity => one_of(undef, 'vm'), dimensions => '{}' })) };

	# what really happens: [second, action, source, attributes] for each resource, with runs that begin and end
	my (@events, %truth);
	my $events = 0;
	foreach my $r (1 .. 7)
	{
		my $source = one_of(@sources);
		my $t = int(rand($hours * 1800));
		my ($on, $since) = (0, undef);
		my %is = (account => 'A', offering => 's', zone => 'z1', value => 1);
		while ($t < $hours * 3600)
		{
			my $action = $on ? one_of('stop', 'stop', 'change', 'change', rand() < 0.5 ? 'end' : 'stop') : 'start';
			$action = 'name' if rand() < 0.15;
			# it goes with a start, also while it runs; or, untruly, with what does not tell so
			if (rand() < $moves)
			{
				my $before = $source;
				$source = one_of(@sources);
				$action = 'start' if $honest && $action ne 'name';
				$source = $before if $honest && $action eq 'name';
			}
			$is{offering} = one_of('s', 'm') if $action =~ /start|change/ && rand() < 0.6;
			$is{account} = one_of('A', 'B', $action eq 'name' ? '' : 'B') if $action eq 'name' || $action =~ /start|change/ && rand() < 0.6;
			$is{value} = one_of(1, 2, 5), $is{zone} = one_of('z1', 'z2') if $action eq 'change';
			($on, $since) = (1, $on ? $since : $t) if $action eq 'start';
			$on = 0 if $action =~ /stop|end/;
			# names all that it changes, so that what is lost is missed
			# what stops has the id of what started
			my $id = $action =~ /stop|end/ && rand() < 0.8 ? (grep { $_->{r} eq "r$r" && $_->{action} eq 'start' } reverse @events)[0]{id} : 'e' . ++$events;
			# which order the source knows is of no use to others
			my $sequence = $honest ? undef : one_of(undef, undef, 1, 2);
			my $said = !$honest && $action =~ /stop|end/ && rand() < 0.2 ? one_of('A', 'B', '') : undef;
			$is{account} = $said if defined $said;
			push @events, { t => $t, r => "r$r", said => $said, action => $action, source => $source, %is, id => $id, entity => $action eq 'start' || rand() < 0.7 ? 'vm' : undef, sequence => $sequence };
			push @{ $truth{"r$r"} }, { t => $t, on => $on, since => $since, source => $source, %is };
			$t += int(rand(one_of(600, 3600, 9000)));
			$t -= $t % 1800 if rand() < 0.2;
			$t = $events[-1]{t} if $t < $events[-1]{t};
			# who stops and starts at one instant goes on, or never began: events alone cannot say which
			$t++ if $honest || rand() < 0.8;
			last if $action eq 'end' && ($honest || rand() < 0.5);
		}
	}

	# what snapshots show: the last of that which happened, with or without since
	my @snapshots;
	foreach my $source (@sources)
	{
		foreach my $hour (1 .. $hours)
		{
			next if rand() < 0.2;
			my $t = $hour * 3600 - (rand() < 0.5 ? 0 : int(rand(3600)));
			my @rows;
			foreach my $r (sort keys %truth)
			{
				my ($is) = grep { $_->{t} <= $t } reverse @{ $truth{$r} };
				my $lies = !$honest && rand() < 0.1;
				next if !$is || !($is->{source} eq $source || rand() < $double) || ($is->{on} xor $lies) == 0;
				my $begins = defined $is->{since} ? min($t, $is->{since} + $skew{$source}) : undef;
				$begins = undef if !$honest && rand() < 0.4;
				push @rows, { %$is, r => $r, since => $begins };
			}
			push @snapshots, { t => $t, source => $source, rows => \@rows };
		}
	}
	@snapshots = values %{ { map { ("$_->{source} $_->{t}" => $_) } @snapshots } };

	# who arrives when: roughly in order, or not at all; some never, or twice
	my $loose = one_of(0.05, 0.5, 2);
	my (@known, @lost);
	foreach my $e (@events)
	{
		if (rand() < 0.25) { push @lost, $e; next; }
		push @known, $e;
		push @known, { %$e } if rand() < 0.1;
		# some is taken back, or would be by a void within reach
		push @known, { %$e, action => 'void', t => $e->{t} + one_of(0, 0, -86400, 86400, 86401, int(rand(172800)) - 86400) } if !$honest && rand() < 0.1;
	}
	# whose a resource is, is written down when a snapshot is compared: a row that is never taken back says so first
	my @anchors = $honest ? () : map { { %{ $truth{$_}[0] }, t => 0, r => $_, action => 'change', id => "first $_", entity => 'vm' } } sort keys %truth;

	# what was measured, of whoever owned it then
	my @measures = map { my $t = int(rand($hours * 3600)); { t => $t, end => $t + one_of(0, 600, 5000), r => 'r' . one_of(1 .. 7), entity => one_of('vm', 'vm', undef), value => one_of(1, 100, '2.50') } } 1 .. 12;
	my @arrivals = map { $_->[1] } sort { $a->[0] <=> $b->[0] }
	  map { [ $_->{t} / ($hours * 3600) + rand() * $loose, $_ ] } @known, @measures, sort { $a->{t} <=> $b->{t} or $a->{source} cmp $b->{source} } @snapshots;

	my $event = sub {
		my ($e) = @_;
		return "INSERT INTO $stream.measure (start_time, end_time, resource, entity, value) VALUES (" . join(', ', at($e->{t}), at($e->{end}), literal($e->{r}), literal($e->{entity}), $e->{value}) . ");\n"
		  if defined $e->{end};
		return qq[INSERT INTO $stream.event (source, id, "time", resource, sequence, entity, action, account, offering, value, attributes) VALUES (]
		  . join(', ', literal($e->{source}), literal($e->{id}), at($e->{t}), map { literal($_) } $e->{r}, @$e{qw(sequence entity action)},
			$e->{action} =~ /stop|end|void/ ? ($e->{said}, undef, undef, undef) :
			$e->{action} eq 'name' ? ($e->{account}, undef, undef, undef) : ($e->{account}, $e->{offering}, $e->{value}, qq({"zone": "$e->{zone}"}))) . ");\n";
	};
	my $snapshot = sub {
		my ($s) = @_;
		return join('', map {
				"INSERT INTO $stream.inventory (source, at, resource, account, entity, offering, value, since, attributes) VALUES ('$s->{source}', "
				  . at($s->{t}) . ", '$_->{r}', " . join(', ', map { literal($_) } $_->{account} eq '' ? undef : $_->{account}, 'vm', $_->{offering}, $_->{value}) . ', '
				  . (defined $_->{since} ? at($_->{since}) : 'NULL') . qq[, '{"zone": "$_->{zone}"}');\n]
			} @{ $s->{rows} })
		  . "SELECT FROM meter.reconcile('$stream', '$s->{source}', " . at($s->{t}) . ", allow_empty => true, max_stops => 1000"
		  . ($honest ? ", tolerance => '0'" : '') . ");\n";
	};

	my $script = "SELECT FROM meter.create_stream('$stream');\n";
	my $create = sub { return "SELECT FROM meter.create_meter('$stream', '$_[0]{name}', $_[0]{define}, lateness => '0', max_lateness => NULL);\n"; };
	my (@names, $n);
	my $ask = sub {
		my ($what, @of) = @_;
		push @names, "world $w $what";
		$script .= "SELECT '$names[-1]', concat_ws(' ', " . join(', ', map { "nullif(compare('$stream', '$_->{name}', oracle.define($_->{define})), '')" } @of)
		  . ", (SELECT string_agg(last_error, '; ') FROM meter.status WHERE stream = '$stream'), "
		  . "(SELECT 'verify: ' || count(*) FROM meter.verify('$stream') HAVING count(*) > 0));\n";
	};
	my $run = sub { return "SET meter.now = " . at($_[0]) . ";\nCALL meter.run('$stream');\n"; };
	$script .= $create->($meters[0]) . "SET meter.batch_rows = " . one_of(1000000, 1000000, 1, 5) . ";\n";
	$script .= "SET meter.keep_interval = " . one_of(0, 0, 60, 1440) . ";\n";
	unshift @arrivals, @anchors;
	my $late_meter = int(rand(@arrivals));
	foreach my $i (0 .. $#arrivals)
	{
		my $a = $arrivals[$i];
		$script .= 'SET meter.now = ' . at($hours * 3600) . ";\n";
		$script .= $create->($meters[1]) if $i == $late_meter;
		$script .= $a->{rows} ? $snapshot->($a) : $event->($a);
		if (rand() < 0.3)
		{
			my $now = int(rand($hours * 3600));
			if (rand() < 0.2)
			{
				push @names, "world $w rewound $i";
				$script .= rewind_some($stream, "$names[-1] rewind") . "SELECT '$names[-1]', coalesce((SELECT count(*) || ' ' || min(v::text) FROM meter.verify('$stream') v HAVING count(*) > 0), '');\n";
			}
			$script .= rand() < 0.3 ? 'SET meter.now = ' . at($now) . ";\nSELECT FROM meter.advance('$stream');\n" : $run->($now);
			push @names, "world $w verify $i";
			$script .= "SELECT '$names[-1]', coalesce((SELECT count(*) || ' ' || min(v::text) FROM meter.verify('$stream') v HAVING count(*) > 0), '');\n";
			if (rand() < 0.25)
			{
				$script .= $run->($now);
				$ask->("arrival $i", $i >= $late_meter ? @meters : $meters[0]);
			}
		}
	}
	$script .= $run->($hours * 3600);
	$ask->('end', @meters);

	# what was lost arrives
	$script .= $event->($_) foreach shuffle @lost;
	$script .= $run->($hours * 3600);
	$ask->('found', @meters);
	if ($honest)
	{
		# and then there is nothing that snapshots would have to add
		push @names, "world $w truth";
		$script .= "SET oracle.plain = on;\nSELECT '$names[-1]', concat_ws(' ', " . join(', ', map { "nullif(compare('$stream', '$_->{name}', oracle.define($_->{define})), '')" } @meters)
		  . ");\nSET oracle.plain = off;\n";
	}
	# a snapshot within the hour that is not settled yet, of which some is not as the log has it
	my @half = map { { %{ $_->[-1] }, r => $_->[0], since => undef } } grep { $_->[-1]{source} eq 'a' && rand() < 0.6 } map { [ $_, $truth{$_}[-1] ] } sort keys %truth;
	$script .= 'SET meter.now = ' . at($hours * 3600 + 1800) . ";\n" . $snapshot->({ t => $hours * 3600 + 1200, source => 'a', rows => \@half }) . "CALL meter.run('$stream');\n";
	$ask->('half', @meters);
	push @names, "world $w live";
	$script .= "SELECT '$names[-1]', concat_ws(' ', " . join(', ', map { "nullif(compare('$stream', '$_->{name}', oracle.define($_->{define})), ''), nullif(compare('$stream', '$_->{name}', oracle.define($_->{define}), "
		  . at($hours * 3600 + 1800) . "), '')" } @meters) . ");\n";
	push @names, "world $w again";
	$script .= "SELECT '$names[-1]', nullif(sum(usage_rows + adjustments + late_rows), 0) FROM meter.advance('$stream');\n";
	push @names, "world $w resettle";
	$script .= "SELECT '$names[-1]', nullif(sum(meter.resettle('$stream', name, NULL)), 0) FROM meter.meter WHERE stream = '$stream';\n";
	push @names, "world $w once";
	$script .= "SELECT '$names[-1]', string_agg(id, ' ') FROM (SELECT id FROM $stream.event WHERE action LIKE 'reconciled:%' GROUP BY source, id, resource HAVING count(*) > 1) x;\n";
	$script .= "SELECT FROM meter.drop_stream('$stream', true);\n" unless $ENV{METER_KEEP};

	my $answer = answers($node, $script);
	subtest "world $w: " . @known . ' events, ' . @lost . ' lost, ' . @snapshots . ' snapshots' . ($honest ? ', true' : '') => sub {
		is($answer->{$_}, '', $_) or diag("METER_SEED=$seed METER_WORLD=$w") foreach @names;
	};
}

world($_) foreach @numbers;
$node->stop;
done_testing();
