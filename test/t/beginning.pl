# Promise: a meter holds what is too late by the clock that it began with, and by its watermarks later, and nothing else, whenever it was made.
#
# Worlds of random events arrive in rounds; some are from long ago. A meter is made before, between or after them, with or without since, by the
# clock wall or event, with a max_lateness; it makes steps after some rounds. Which rows must be held is known from the rounds alone. The ledger
# is compared with the oracle, given the rows that are held.
#
#   METER_SEED=n      the same worlds again; each is made from the seed and its own number
#   METER_WORLD=n     only that world
#   METER_RANDOM=n    this many worlds instead of 12
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $node = start_server('beginning');
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../oracle_duplicates.sql"));
my @numbers = $ENV{METER_WORLD} ? ($ENV{METER_WORLD}) : (1 .. ($ENV{METER_RANDOM} || 12));

sub one_of { return $_[ rand @_ ]; }

my $begin = "'2024-03-05 00:00Z'::timestamptz";

# The rounds of a world, judged in SQL. A round's rows have a range of arrivals. `judged`: what holds the rows of a round, if they were not there
# when the meter was made: the later of the clock then and of the watermark at the beginning of the last step before they came.
sub world
{
	my ($w) = @_;
	srand($seed + $w);
	my $stream = "world$w";
	my $rounds = one_of(3, 5, 8);
	my $made   = one_of(1, 1 + int(rand($rounds)));
	my $clock  = one_of('wall', 'wall', 'event');
	my $period = one_of('1 hour', '1 hour', '1 day');
	my $max    = one_of('3 hours', '1 day', '40 days', undef);
	my $since  = rand() < 0.25 ? "date_trunc('day', $begin - interval '" . int(rand(60)) . " days')" : 'NULL';
	my $lateness = one_of('0', '20 minutes');
	my $rows = one_of(1000000, 1000000, 1000000, 300);
	my $define = "aggregate => 'duration', starts => '{start}', stops => '{stop}', changes => '{}', dimensions => '{}', period => '$period', since => $since";
	my $script = <<"SQL";
SELECT meter.create_stream('$stream') IS NULL;
SET meter.batch_rows = $rows;
SET meter.keep_interval = @{[ one_of(0, 1440) ]};
CREATE TEMP TABLE before (round int, last bigint, there boolean, now timestamptz, watermark timestamptz, first boolean);
SQL
	my $stepped = 0;
	my @names   = ("world $w held");
	foreach my $round (1 .. $rounds)
	{
		# hours go by
		my $hours = $round * 9 + int(rand(5));
		$script .= "SELECT set_config('meter.now', ($begin + interval '$hours hours 7 minutes')::text, false) IS NULL;\n";
		$script .= "SELECT meter.create_meter('$stream', 'm', $define, clock => '$clock', lateness => '$lateness', max_lateness => "
		  . (defined $max ? "'$max'" : 'NULL') . ") IS NULL;\n"
		  if $round == $made;
		my @events = map {
			my $how = rand();
			my $minutes = $how < 0.6 ? $hours * 60 - int(rand(700)) : $how < 0.8 ? $hours * 60 - int(rand(3000)) : $how < 0.9 ? -int(rand(60000)) : -144_000 + int(rand(1000));
			"('s', 'e$round-$_', $begin + interval '$minutes minutes', 'r" . int(rand(6)) . "', '" . one_of('A', 'B') . "', '" . one_of('start', 'stop', 'stop') . "')";
		} 1 .. int(rand(9));
		$script .= qq(INSERT INTO $stream.event (source, id, "time", resource, account, action) VALUES ) . join(', ', @events) . ";\n" if @events;
		# the meter as it was when these came: before the step that looks at them
		$script .= "INSERT INTO before SELECT $round, coalesce((SELECT max(arrival) FROM $stream.event), 0), " . ($round < $made ? 'true' : 'false')
		  . ", meter_internal.clock_now(), (SELECT watermark FROM meter.meter WHERE stream = '$stream'), " . ($stepped ? 'false' : 'true') . ";\n";
		if ($round >= $made && ($round == $rounds || rand() < 0.7))
		{
			$script .= "SELECT 'world $w step $round', (SELECT watermark FROM meter.meter WHERE stream = '$stream');\n";
			$script .= "CALL meter.run('$stream');\n";
			push @names, "world $w round $round", "world $w verify $round";
			$script .= "SELECT 'world $w round $round', oracle.differences('$stream', 'm', oracle.define($define));\n";
			$script .= "SELECT 'world $w verify $round', count(*) FROM meter.verify('$stream');\n";
			$script .= "INSERT INTO before SELECT -$round, (SELECT max(last) FROM before WHERE round > 0), false, meter_internal.clock_now(), (SELECT watermark FROM meter.meter WHERE stream = '$stream'), false;\n";
			$stepped = 1;
		}
	}
	$script .= judge($w, $stream, $made, $clock, $period, $max, $since, $lateness);
	$script .= "DROP TABLE before;\nSELECT meter.drop_stream('$stream', true) IS NULL;\n";
	my $answer = answers($node, $script);
	subtest "world $w: made in round $made of $rounds, clock $clock, period $period, max_lateness " . ($max // 'none') . ", since $since, $rows rows" => sub {
		is($answer->{$_}, /verify/ ? '0' : '', $_) or diag("METER_SEED=$seed METER_WORLD=$w") foreach @names;
	};
	return;
}

# SQL that tells which rows are held and should not be, or should and are not. A run of several steps notes where it is more than once: rows between
# what the watermark before it and what the one after it hold may be either.
sub judge
{
	my ($w, $stream, $made, $clock, $period, $max, $since, $lateness) = @_;
	return "SELECT 'world $w held', (SELECT CASE WHEN count(*) = 0 THEN '' ELSE count(*) || ' held' END FROM $stream.held);\n" unless defined $max;
	my $rows_clock = qq{SELECT max("time") FROM $stream.event};
	return <<"SQL";
WITH rounds AS (
	SELECT b.*, coalesce((SELECT max(p.last) FROM before p WHERE p.round > 0 AND p.round < b.round), 0) AS after,
		(SELECT min(-s.round) FROM before s WHERE -s.round >= b.round) AS step,
		(SELECT max(-s.round) FROM before s WHERE s.round < 0 AND -s.round < b.round) AS last_step
	FROM before b WHERE b.round > 0
), clock AS (		-- of the time when the meter was made; of the event clock, if nothing was there, of the first step
	SELECT oracle.slice_begin((SELECT CASE WHEN '$clock' = 'wall' THEN (SELECT now FROM before WHERE round = $made)
		ELSE coalesce((SELECT max("time") FROM $stream.event WHERE arrival <= (SELECT max(last) FROM before WHERE there)),
			(SELECT max("time") FROM $stream.event WHERE arrival <= (SELECT min(last) FROM before s WHERE s.round < 0 AND s.last > 0))) END)
		- interval '$lateness', '$period', 'UTC') AS first
), judged AS (
	SELECT e.arrival, e."time", r.round, r.there, r.last_step IS NULL AS in_first,
		-- the watermark before the last step that went before, and after it
		greatest(c.first, (SELECT p.watermark FROM before p WHERE p.round = r.last_step)) AS low,
		greatest(c.first, (SELECT p.watermark FROM before p WHERE p.round = - r.last_step)) AS high
	FROM rounds r JOIN $stream.event e ON e.arrival > r.after AND e.arrival <= r.last, clock c
)
SELECT 'world $w held', (SELECT coalesce(string_agg(j.arrival || ' of ' || j."time" || CASE WHEN h.arrival IS NULL THEN ' is not held' ELSE ' is held' END, ', ' ORDER BY j.arrival), '')
	FROM judged j LEFT JOIN $stream.held h ON h.arrival = j.arrival
	WHERE CASE WHEN j.there OR (j.in_first AND $since IS NOT NULL) THEN h.arrival IS NOT NULL
		WHEN $since IS NOT NULL THEN false
		WHEN j."time" < least(j.low, j.high) - interval '$max' THEN h.arrival IS NULL
		WHEN j."time" >= greatest(j.low, j.high) - interval '$max' THEN h.arrival IS NOT NULL END);
SQL
}

world($_) foreach @numbers;
$node->stop;
done_testing();
