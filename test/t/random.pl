# Promise: whatever happens, and in whatever order it becomes known, the ledger says what the rules say.
#
# Worlds of random histories (ties, sequences, attributes and entities left out, duplicates with and without an id, voids near and far, orphan
# stops, starts after the end, transfers by actions that no meter lists, accounts named late, released or never, odd texts, clocks being set, a resource that has more than its share of memory holds, zones whose rules were others) are fed to
# streams in random batches, settled after each batch, and compared with the oracle. Meters have all that meters of events can have.
#
#   METER_SEED=n      the same worlds again; each is made from the seed and its own number
#   METER_WORLD=n     only that world
#   METER_RANDOM=n    this many worlds instead of 16; a world has some eight histories and three meters
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use List::Util qw(shuffle max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed  = seed();
my $node  = start_server('random');
my @numbers = $ENV{METER_WORLD} ? ($ENV{METER_WORLD}) : (1 .. ($ENV{METER_RANDOM} || 16));
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../oracle_duplicates.sql"));

sub one_of { return $_[ rand @_ ]; }

# What a text can be: names that sort, join or quote badly.
my @accounts  = ('A', 'B', '', 'b', 'a-b', 'a', "\x{c3}\x{a9}");
my @offerings = ('s', 'm', 'l', '10', '9', '', 'a"b', "it's");
my @zones     = ('z1', 'z2', '1', 'null');
my @values    = (0, 1, 2.5, '9', '10', '10.0', '0.30', -1, '1e-7', '123456789.000000001');

# Where and when: around instants at which clocks are set, where the days are odd, and before 1970.
my @places = (
	[ 'UTC',                 '2024-03-04T20:00:00Z' ],
	[ 'UTC',                 '1969-12-31T10:00:00Z' ],
	[ 'Asia/Kolkata',        '2024-02-28T12:00:00Z' ],
	[ 'America/New_York',    '2024-03-09T20:00:00Z' ],
	[ 'America/New_York',    '2024-11-02T20:00:00Z' ],
	[ 'Europe/Berlin',       '2024-03-30T20:00:00Z' ],
	[ 'Australia/Lord_Howe', '2024-10-05T04:00:00Z' ],
	[ 'Australia/Lord_Howe', '2024-04-06T04:00:00Z' ],
	[ 'America/Havana',      '2020-10-31T20:00:00Z' ],
	[ 'America/Sao_Paulo',   '2018-11-03T20:00:00Z' ],
	[ 'America/St_Johns',    '2006-10-28T20:00:00Z' ],
	[ 'Pacific/Apia',        '2011-12-29T20:00:00Z' ]);

# [period, hours a history spans, increments]: short periods more often, for there is more to carry from one to the next
my @grids = (
	([ '1 hour',     16, '1 minute', '1 second', '5 minutes', '20 minutes', '1 hour' ]) x 3,
	[ '1 hour',     8,   '1 minute', '1 second', '5 minutes', '20 minutes', '1 hour' ],
	[ '15 minutes', 5,   '1 minute', '15 minutes' ],
	[ '6 hours',    40,  '1 hour',   '30 minutes', '1 minute' ],
	[ '1 day',      80,  '1 hour',   '1 minute',   '3 hours' ],
	[ '1 week',     400, '1 hour' ],
	[ '1 month',    900, '1 hour',   '1 minute' ]);

# A moment of the history: often the same as others, often on the grid.
sub moment
{
	my ($base, $hours) = @_;
	my $second = int(rand($hours * 3600));
	my $how = rand();
	return sprintf('%s %s', $base, 0) if $how < 0.01;
	$second -= $second % 3600 if $how < 0.15;
	$second -= $second % 1200 if $how < 0.40;
	$second -= $second % 30   if $how < 0.85;
	my $micro = $how > 0.95 ? int(rand(1e6)) : $how > 0.93 ? one_of(1, 999_999) : 0;
	return sprintf('%s %d.%06d', $base, $second, $micro);
}

sub world
{
	my ($w) = @_;
	srand($seed + $w);
	my $stream = "world$w";
	my ($timezone, $begin) = @{ one_of(@places) };
	my ($period, $hours, @increments) = @{ one_of(@grids) };
	my ($window, $apart) = @{ one_of([ '1 day', 86400 ], [ '90 minutes', 5400 ], [ '0', 0 ]) };
	my $ids = one_of(0, 0.3, 0.7);
	my $script = '';

	# the meters
	my @meters;
	my $hour = max(1, int($hours / 16));	# some time of the world, in hours
	foreach my $name ('m1', 'm2', 'm3')
	{
		my %meter = (
			aggregate  => one_of('duration', 'duration', 'duration', 'weighted', 'weighted', 'runs'),
			entity     => one_of(undef, undef, 'vm'),
			starts     => one_of('{create,start}', '{start}'),
			stops      => one_of('{delete,stop}', '{stop}'),
			changes    => one_of('{resize,update}', '{resize}', '{}'),
			ends       => one_of(undef, undef, '{halt}', '{halt,expire}'),
			liveness   => one_of(undef, undef, '10 minutes', "$hour hours", '100 seconds', @{[ 4 * $hour ]} . ' hours'),
			dimensions => one_of('{offering}', '{offering}', '{}', '{offering,zone}', '{zone,offering}', '{entity}'),
			period     => $period,
			timezone   => $timezone,
			since      => undef);
		$meter{stops} = '{}' if ($meter{ends} || $meter{liveness}) && rand() < 0.1;
		if ($meter{aggregate} ne 'runs')
		{
			%meter = (%meter,
				increment  => one_of(@increments),
				rounding   => one_of('up', 'down', 'nearest', 'none', undef),
				unit       => one_of('1 minute', '1 second', '1 hour', '7 seconds', '1024 seconds'));
			%meter = (%meter, rounding_of => 'run', rounding => one_of('up', undef), increment => one_of(@increments, '7 minutes', '6 seconds', '1 hour')) if rand() < 0.3;
			$meter{rounding} = 'none' if !$meter{rounding_of} && rand() < 0.2;
			$meter{minimum} = one_of('30 seconds', '25 minutes', "$hour hours", @{[ 3 * $hour ]} . ' hours 1 second')
			  if rand() < 0.5 && ($meter{rounding_of} || ($meter{rounding} // ($meter{aggregate} eq 'weighted' ? 'none' : 'up')) eq 'none');
		}
		my %how = (clock => one_of('wall', 'event', 'source'), lateness => one_of('0', '5 minutes', '90 minutes'));
		my $since = rand() < 0.3 ? "oracle.slice_begin('$begin'::timestamptz + interval '" . int(rand($hours / 2)) . " hours', '$period', '$timezone')" : 'NULL';
		my $define = join(', ', meter_arguments(\%meter), "since => $since");
		push @meters,
		  { name => $name, how => \%how, define => $define,
			create => "SELECT meter.create_meter('$stream', '$name', $define, max_lateness => NULL, "
			  . join(', ', map { "$_ => '$how{$_}'" } sort keys %how) . ");\n" };
	}

	# the histories
	my (@rows, $clock);
	foreach my $r (1 .. 8)
	{
		my $events = 1 + int(rand(one_of(3, 6, 14)));
		my $named  = one_of(0, 0.2, 0.5, 0.8);
		my $ordered = one_of(0, 0, 0.5, 0.9);	# how often the source says in which order
		my $entities = one_of(0, 0.3, 0.8);
		my $once   = rand() < 0.4 ? int(rand($events)) : undef;		# its account is named by one event only
		foreach my $e (0 .. $events - 1)
		{
			my ($offset) = moment($begin, $hours);
			my ($base, $s) = split / /, $offset;
			# a start and a stop may have one id, and so may what lies far apart
			my ($source, $id) = (one_of(undef, 's', ''), rand() < $ids ? 'i' . int(rand(5)) : undef);
			push @rows, [
				"'$base'::timestamptz + interval '$s seconds'",
				literal("r$r"),
				literal((defined $once ? $e == $once : rand() < $named) ? one_of(@accounts[ 0 .. ($w % 3 ? 2 : $#accounts) ]) : undef),
				literal(rand() < $entities ? one_of(undef, '', 'disk') : 'vm'),
				literal(one_of('start', 'start', 'create', 'stop', 'stop', 'delete', 'resize', 'resize', 'update', 'ping', 'transfer', rand() < 0.4 ? one_of('halt', 'expire') : 'start')),
				literal(rand() < 0.5 ? one_of(@offerings) : undef),
				literal(rand() < 0.4 ? one_of(@values) : undef),
				literal(one_of(undef, '{}', '{"zone": null}', map { qq({"zone": "$_"}) } @zones) // undef),
				literal($source), literal($id), literal(rand() < $ordered ? int(rand(4)) - 1 : undef) ];
			push @rows, $rows[-1] if rand() < 0.1;
			next unless defined $id && rand() < 0.2;
			# taken back, at its time, at the window's edges, or out of reach; once or twice
			my $void = [ sprintf("'%s'::timestamptz + interval '%.6f seconds'", $base, $s + one_of(0, 0, -$apart, $apart, -$apart - 1, $apart + 0.000001, (rand() - 0.5) * 4 * $apart)),
				literal("r$r"), 'NULL', 'NULL', "'void'", 'NULL', 'NULL', 'NULL', literal($source), literal($id), 'NULL' ];
			push @rows, ($void) x one_of(1, 1, 2);
		}
	}

	# one resource has labels of 60 kB: too many for its share of memory, so it is set aside, now and then released, and released in the end
	my $share = rand() < 0.4;
	if ($share)
	{
		my $much = moment($begin, $hours);
		foreach my $i (1 .. 6)
		{
			my ($base, $s) = split / /, rand() < 0.8 ? $much : moment($begin, $hours);
			push @rows, [
				"'$base'::timestamptz + interval '$s seconds'",
				"'r8'", literal(one_of('A', undef)), "'vm'", literal(one_of('start', 'resize', 'stop')), 'NULL', 'NULL',
				"jsonb_build_object('zone', '$i' || repeat('z', 60000))", 'NULL', 'NULL', 'NULL' ];
		}
		$script .= "SET meter.resource_memory = '256kB';\n";
	}

	# batches: roughly in order, or not at all
	my $rounds = one_of(1, 3, 6, 12);
	my $loose = one_of(0.1, 1, 5);
	my @keyed = map { [ (($_->[0] =~ /interval '(-?[\d.]+)/)[0] / ($hours * 3600) + (rand() - 0.5) * $loose, $_) ] } @rows;
	my @sorted = map { $_->[1] } sort { $a->[0] <=> $b->[0] } @keyed;
	my @batches;
	push @{ $batches[ min($rounds - 1, int($_ * $rounds / @sorted)) ] }, $sorted[$_] foreach 0 .. $#sorted;

	# with many batches, the oracle is asked after some only
	my %rewound;
	my %asked = map { $_ => 1 } grep { $_ == $rounds || rand() < 3 / $rounds } 1 .. $rounds;

	# a meter that is made late finds the log as it is
	my $late_meter = rand() < 0.3 ? $rounds : 1;
	$script .= "SET meter.batch_rows = " . one_of(1000000, 1000000, 1, 7) . ";\n";
	$script .= "SET meter.keep_interval = " . one_of(0, 0, 60, 1440) . ";\n";
	my $latest = 0;
	foreach my $round (1 .. $rounds)
	{
		$script .= $meters[0]{create} if $round == 1;
		$script .= join('', map { $_->{create} } @meters[ 1, 2 ]) if $round == $late_meter;
		if (my @batch = @{ $batches[ $round - 1 ] || [] })
		{
			$script .= qq(INSERT INTO $stream.event ("time", resource, account, entity, action, offering, value, attributes, source, id, sequence) VALUES\n)
			  . join(",\n", map { '(' . join(', ', @$_) . ')' } @batch) . ";\n";
		}
		my $ahead = $round == $rounds ? $hours * (1 + rand()) : $hours * $round / $rounds + (rand() < 0.3 ? -$hours / 3 : 0);
		my $now = "'$begin'::timestamptz + interval '%d minutes'";
		$latest = max($latest, int($ahead * 60));
		$script .= 'SELECT set_config(\'meter.now\', (' . sprintf($now, $ahead * 60) . ")::text, false) IS NULL;\n";
		# two sources say what they like, in the end both that they are where now is
		$script .= "SELECT FROM meter.heartbeat('$stream', '$_', meter_internal.clock_now() - interval '" . ($round == $rounds ? 0 : int(rand(600))) . " minutes');\n"
		  foreach 'one', 'two';
		if (rand() < 0.25)
		{
			$rewound{$round} = 1;
			$script .= rewind_some($stream, "world $w round $round rewind") . "SELECT 'world $w round $round rewound', count(*) FROM meter.verify('$stream');\n";
		}
		# a single step may leave rows unread; verify knows, the oracle does not
		my $step = $round < $rounds && !$asked{$round} && rand() < 0.5;
		$script .= "SELECT meter.release_resource('$stream', meter, resource) FROM $stream.quarantine;\n" if $share && rand() < 0.3;
		$script .= "SELECT meter.discard('$stream', meter, array_agg(arrival) FILTER (WHERE arrival % 3 = 0)) FROM $stream.held GROUP BY meter;\n" if rand() < 0.2;
		$script .= $step ? "SELECT FROM meter.advance('$stream');\n" : "CALL meter.run('$stream');\n";
		foreach my $m ($asked{$round} ? $round >= $late_meter ? @meters : $meters[0] : ())
		{
			$script .= "SELECT 'world $w round $round $m->{name}', pg_temp.compare('$stream', '$m->{name}', oracle.define($m->{define}), "
			  . sprintf($now, $latest) . ', ' . ($round == $rounds ? "'$m->{how}{clock}', '$m->{how}{lateness}'" : 'NULL, NULL') . ");\n";
		}
		$script .= "SELECT 'world $w round $round verify', count(*) FROM meter.verify('$stream');\n";
	}
	$script .= release_aside($w, $stream, sub { "pg_temp.compare('$stream', '$_[0]{name}', oracle.define($_[0]{define}), meter_internal.clock_now(), '$_[0]{how}{clock}', '$_[0]{how}{lateness}')" }, @meters) if $share;
	$script .= "SELECT 'world $w again', (SELECT sum(usage_rows + adjustments + late_rows) FROM meter.advance('$stream'));\n";
	$script .= "SELECT meter.drop_stream('$stream', true);\n" unless $ENV{METER_KEEP};

	# settled by rules that the server has no longer
	$script = "SELECT meter.create_stream('$stream', '$window');\n" . recorded_days($stream, $timezone, $begin, $hours) . $script;
	my $answer = answers($node, prelude() . $script);
	subtest "world $w: $period in $timezone, $rounds rounds of " . @rows . ' rows' => sub {
		foreach my $round (1 .. $rounds)
		{
			is($answer->{"world $w round $round $_->{name}"}, '', "round $round: $_->{name} as the oracle says")
			  or diag("METER_SEED=$seed METER_WORLD=$w: $_->{create}")
			  foreach ($asked{$round} ? $round >= $late_meter ? @meters : $meters[0] : ());
			if ($rewound{$round})
			{
				like($answer->{"world $w round $round rewind"}, qr/^\d+$/, "round $round: watermarks are taken back");
				is($answer->{"world $w round $round rewound"}, '0', "round $round: verify is empty then");
			}
			is($answer->{"world $w round $round verify"}, '0', "round $round: verify is empty");
		}
		aside_is_right($answer, $w, @meters) if $share;
		is($answer->{"world $w again"}, '0', 'a second settle has nothing to do');
	};
}

# compare: '' where the ledger of a meter is what the oracle computes at its watermark, else what differs, with the events of
# the first resource that does. The watermark is never after the latest now; once there are no events ahead of it, it is where the
# clock, if given, says, or where the meter began: the period of the earliest event that it knew then; and what is not settled
# yet is right in current_usage, up to the clock's own now.
sub prelude
{
	return <<'SQL';
CREATE FUNCTION pg_temp.ledger(stream text, meter text)
RETURNS TABLE (period_start timestamptz, resource text, account text, dimensions jsonb, quantity numeric) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT period_start, resource, account, dimensions, sum(quantity) FROM %I.usage
		WHERE meter = $1 GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0', stream) USING meter;
END $$;
CREATE FUNCTION pg_temp.compare(stream text, meter text, definition oracle.meter, latest_now timestamptz, clock text, lateness interval)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	s record;
	clock_now timestamptz;
	due timestamptz;
	began boolean;
	differs text;
	culprit text;
	aside text[];		-- of what is set aside, nothing is said; nor of what may be as soon as it is settled
	n int;
BEGIN
	SELECT * INTO s FROM meter.status t WHERE t.stream = compare.stream AND t.meter = compare.meter;
	IF s.last_error IS NOT NULL THEN
		RETURN 'error: ' || s.last_error;
	END IF;
	IF s.watermark > greatest(latest_now, definition.since) THEN
		RETURN format('the watermark %s is after now, %s', s.watermark, latest_now);
	END IF;
	IF clock IS NOT NULL THEN
		EXECUTE format('SELECT CASE WHEN $1 <> ''event'' THEN $2 ELSE max("time") END, bool_or(oracle.slice_begin("time", $3, $4) = $5)
			FROM %I.event WHERE "time" <= $2', stream)
			INTO clock_now, began USING clock, latest_now, definition.period, definition.timezone, s.watermark;
		due := oracle.slice_begin(clock_now - lateness, definition.period, definition.timezone);
		IF s.watermark IS DISTINCT FROM greatest(due, definition.since) AND NOT (s.watermark > due AND began) THEN
			RETURN format('the watermark is %s, due is %s', s.watermark, due);
		END IF;
	END IF;
	IF s.watermark IS NULL THEN
		RETURN '';
	END IF;

	DROP TABLE IF EXISTS pg_temp.counted;
	EXECUTE format('CREATE TEMP TABLE counted AS SELECT c.* FROM meter.stream s, oracle.counted(%L, s.deduplication_window, ''{}'') c WHERE s.name = %L',
		stream || '.event', stream);
	EXECUTE format('SELECT coalesce(array_agg(resource), ''{}'') FROM %I.quarantine WHERE meter = $1', stream) INTO aside USING meter;
	SELECT string_agg(format('%s %s %s %s: ledger %s, oracle %s', period_start, resource, account, dimensions,
			coalesce(l.quantity, 0), coalesce(o.quantity, 0)), '; ' ORDER BY period_start, resource), min(resource)
		INTO differs, culprit
	FROM pg_temp.ledger(stream, meter) l
	FULL JOIN oracle.usage('pg_temp.counted', definition, s.watermark) o
		USING (period_start, resource, account, dimensions)
	WHERE l.quantity IS DISTINCT FROM o.quantity AND resource <> ALL (aside);
	IF differs IS NOT NULL THEN
		EXECUTE format('SELECT string_agg(concat_ws('' '', "time", ''#'' || sequence, source || ''/'' || id, entity, action, ''a='' || account, ''o='' || offering, ''v='' || value, attributes), '' | '' ORDER BY "time", arrival)
			FROM %I.event WHERE resource = $1', stream) INTO culprit USING culprit;
		RETURN format('at %s: %s. Events: %s', s.watermark, left(differs, 2000), culprit);
	END IF;

	IF clock IS NOT NULL THEN
		EXECUTE format('SELECT string_agg(format(''%%s %%s %%s %%s: live %%s, oracle %%s'', period_start, resource, account, dimensions,
				coalesce(l.quantity, 0), coalesce(o.quantity, 0)), ''; '' ORDER BY period_start, resource)
			FROM (SELECT * FROM %I.current_usage WHERE meter = $1 AND (period_start >= $3 OR $3 IS NULL) AND quantity <> 0) l
			FULL JOIN (SELECT * FROM oracle.usage(''pg_temp.counted'', $2, $4) WHERE period_start >= $3 OR $3 IS NULL) o
				USING (period_start, resource, account, dimensions)
			WHERE l.quantity IS DISTINCT FROM o.quantity AND resource <> ALL ($5)', stream)
			INTO differs USING meter, definition, s.watermark, clock_now, aside || CASE WHEN current_setting('meter.resource_memory') = '256kB' THEN '{r8}'::text[] END;
		IF differs IS NOT NULL THEN
			RETURN format('at %s, up to %s: %s', s.watermark, clock_now, left(differs, 2000));
		END IF;
	END IF;

	EXECUTE format('SELECT count(*) FROM %I.usage WHERE meter = $1 AND (quantity = 0
		OR transaction_id <> meter.transaction_id($2, meter, resource, account, dimensions, period_start, revision))', stream)
		INTO n USING meter, stream;
	IF n > 0 THEN
		RETURN n || ' rows are empty or have a transaction ID that is not theirs';
	END IF;
	EXECUTE format('SELECT count(*) FROM (SELECT FROM %I.usage WHERE meter = $1
		GROUP BY period_start, resource, account, dimensions HAVING max(revision) <> count(*) - 1 OR min(revision) <> 0) q', stream) INTO n USING meter;
	IF n > 0 THEN
		RETURN n || ' keys whose revisions have gaps';
	END IF;
	RETURN '';
END $$;
SQL
}

world($_) foreach @numbers;
$node->stop;
done_testing();
