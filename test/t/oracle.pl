# Promise: the oracle itself is right: cases that were worked out by hand come out of it as they must. Nothing of the extension is asked.
#
# A case has a definition, what happened, and what is owed: 'period account [dimensions] quantity', with a watermark at the end of the day if it says
# nothing else. Then the decided cases with measures, counters and snapshots (cases.pl asks it the others).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node   = start_server('oracle');
my $script = <<'SQL';
CREATE SCHEMA world;
CREATE TABLE world.event (arrival bigint GENERATED ALWAYS AS IDENTITY, source text, id text, "time" timestamptz, sequence bigint, resource text, account text, entity text,
	action text, offering text, value numeric, attributes jsonb);
CREATE TABLE world.measure (arrival bigint GENERATED ALWAYS AS IDENTITY, source text, id text, start_time timestamptz, end_time timestamptz, resource text, account text,
	entity text, value numeric, attributes jsonb);
CREATE TABLE world.snapshot (source text, at timestamptz, tolerance interval DEFAULT '1 minute');
CREATE TABLE world.inventory (source text, at timestamptz, resource text, account text, entity text, offering text, value numeric, since timestamptz, meter text, attributes jsonb);
SET oracle.stream = 'world';
SET oracle.meter = 'm';
CREATE FUNCTION pg_temp.owed(m oracle.meter, watermark timestamptz, deduplication_window interval) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS pg_temp.counted, pg_temp.owed;
	IF m.aggregate IN ('duration', 'weighted', 'runs') THEN
		CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted('world.event', deduplication_window, '{}');
		CREATE TEMP TABLE owed AS SELECT * FROM oracle.usage('counted', m, watermark);
	ELSE
		CREATE TEMP TABLE owed AS SELECT * FROM oracle.measure_usage('world', m, watermark, deduplication_window, '{}', '{}');
	END IF;
	TRUNCATE world.event, world.measure, world.snapshot, world.inventory;
	RETURN coalesce((SELECT string_agg(concat_ws(' ', to_char(period_start AT TIME ZONE 'UTC', 'HH24:MI'), CASE account WHEN '' THEN '''''' ELSE account END,
		(SELECT string_agg(coalesce(v, '?'), ' ' ORDER BY k) FROM jsonb_each_text(dimensions) x (k, v)), trim_scale(quantity)), '; '
		ORDER BY period_start, account COLLATE "C", dimensions::text COLLATE "C", resource) FROM owed), '');
END $$;
SQL
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../$_")) foreach 'oracle_duplicates.sql', 'oracle_measures.sql', 'oracle_snapshots.sql';

# An instant of the day as a literal.
sub at
{
	my ($time) = @_;
	return $time =~ /^\d\d:/ ? "'2024-03-05 ${time}Z'" : "'$time'";
}

my %column = (e => 'entity', q => 'sequence', o => 'offering', v => 'value', s => 'source', i => 'id', since => 'since', attributes => 'attributes');

# Rows of a table: the values of its first columns, '-' for NULL, then column=value.
sub row
{
	my ($table, $columns, @words) = @_;
	my @columns = @$columns;
	my @values = map { my $w = shift @words; $w eq '-' ? 'NULL' : $w eq "''" ? "''" : $_ =~ /time|^at$/ ? at($w) : literal($w) } @columns;
	foreach (@words)
	{
		my ($name, $value) = /^(\w+)=(.*)$/ or die "not a word of a row: $_";
		push @columns, $column{$name} // die "no column: $name";
		push @values, $name eq 'since' ? at($value) : literal($value);
	}
	return "INSERT INTO world.$table (" . join(', ', map { quote($_) } @columns) . ') VALUES (' . join(', ', @values) . ");\n";
}

# What happened, a line each: an event 'time resource account action …'; a measure '= start end resource account value …'; a snapshot
# '@ at source: resource account …, resource account …'.
sub happened
{
	my ($text) = @_;
	my $sql = '';
	foreach my $line (grep { /\S/ } split /\n|;/, $text)
	{
		my @words = split ' ', $line;
		if ($words[0] eq '=')
		{
			shift @words;
			$sql .= row('measure', [qw(start_time end_time resource account value)], @words);
		}
		elsif ($line =~ /^\s*@\s*(\S+) (\w+):\s*(.*)$/)
		{
			my ($at, $source, $rows) = ($1, $2, $3);
			$sql .= "INSERT INTO world.snapshot (source, at) VALUES ('$source', " . at($at) . ");\n";
			$sql .= row('inventory', [qw(at source resource account)], $at, $source, split(' ', $_)) foreach grep { /\S/ } split /,/, $rows;
		}
		else
		{
			$sql .= row('event', [qw(time resource account action)], @words);
		}
	}
	return $sql;
}

my (@asked, $group);

sub group { ($group) = @_; return; }

sub owed
{
	my ($name, $define, $text, $expected, %how) = @_;
	my $window = $how{window} // '1 day';
	my $watermark = at($how{watermark} // '2024-03-06 00:00Z');
	push @asked, [ "$group: $name", $expected ];
	$script .= happened($text) . 'SELECT ' . literal("$group: $name") . ", pg_temp.owed(oracle.define($define), $watermark, '$window');\n";
	return;
}

# Without dimensions, exact to the second, unless the case says otherwise.
my $second = "dimensions => '{}', rounding => 'none', unit => '1 second', period => '1 day'";
my $minute = "dimensions => '{}', rounding => 'none', period => '1 day'";

group('sequence');
owed('a stop that comes after a start in its second closes', "dimensions => '{}', period => '1 day'", '
	10:00 r a start q=1 v=1
	11:00:05 r a start q=2 v=4
	11:00:05 r - stop q=3', '00:00 a 61');
owed('a start that comes after a stop in its second opens again', $minute, '10:00 r a start; 11:00 r a stop q=1; 11:00 r a start q=2; 12:00 r - stop', '00:00 a 120');
owed('without sequence both leave it open', $minute, '10:00 r a start; 11:00 r a stop; 11:00 r a start; 12:00 r - stop', '00:00 a 120');
owed('no sequence comes before the least', $minute, '10:00 r a start; 11:00 r - stop q=-5; 11:00 r - start; 12:00 r - stop', '00:00 a 60');
owed('attributes in order of the sequence', "dimensions => '{offering}', rounding => 'none', changes => '{change}', period => '1 day'",
	'10:00 r a start o=s; 11:00 r - change q=2 o=m; 11:00 r - change q=1 o=x; 12:00 r - stop', '00:00 a m 60; 00:00 a s 60');
owed('of duplicates the least sequence', "dimensions => '{}', rounding => 'none', period => '1 day'",
	'10:00 r a start q=2 s=x i=1; 10:00 r a start q=4 s=x i=1; 10:00 r - stop q=3', '');
owed('equal in both is a tie still', $minute, '10:00 r a start q=7; 10:00 r - stop q=7; 11:00 r - stop', '');

group('ends');
owed('no start opens it again', "dimensions => '{}', period => '1 day', starts => '{create,start}', ends => '{destroy}'",
	'10:00 r a create; 11:00 r - destroy; 11:00:02 r - start', '00:00 a 60');
owed('a resume only resumes', "$minute, starts => '{start,resume}', stops => '{suspend}', ends => '{end}'",
	'10:00 r a start; 10:20 r - suspend; 10:30 r - end; 10:40 r - resume', '00:00 a 20');
owed('an end in a tie is the last', "$minute, ends => '{end}'", '10:00 r a start; 11:00 r - end; 11:00 r - start; 11:00 r - stop; 12:00 r - start', '00:00 a 60');
owed('a start in a tie with an end is a run of no length', "dimensions => '{}', aggregate => 'runs', period => '1 day', ends => '{end}'", '10:00 r a end; 10:00 r - start', '00:00 a 1');
owed('a restart in a tie with an end are two runs', "dimensions => '{}', aggregate => 'runs', period => '1 day', ends => '{end}'",
	'10:00 r a start; 11:00 r a end; 11:00 r - start; 11:00 r - stop', '00:00 a 2');
owed('a start before the end in its instant counts', "dimensions => '{}', aggregate => 'runs', period => '1 day', ends => '{end}'",
	'10:00 r a start q=1; 10:00 r a end q=2; 10:00 r a start q=3', '00:00 a 1');
owed('what is ignored sets no attribute, a change does', "dimensions => '{offering}', rounding => 'none', period => '1 day', changes => '{change}', ends => '{end}'",
	"10:00 r a start o=s; 11:00 r - end; 11:10 r - start o=x; @ 12:00 z: r -; 13:00 r - stop; 14:00 r - change o=m; @ 15:00 z: r -; 16:00 r - stop",
	'00:00 a m 60; 00:00 a s 120');
owed('what is ignored names all the same', "$minute, ends => '{end}'", '10:00 r a start; 11:00 r - end; 11:10 r b start; @ 12:00 z: r -; 13:00 r - stop', '00:00 a 60; 00:00 b 60');
owed('an observation lifts the end', "$minute, ends => '{end}'", '10:00 r a start; 11:00 r - end; @ 12:00 z: r -; 13:00 r - stop; 14:00 r - start; 15:00 r - stop', '00:00 a 180');

group('liveness');
owed('an open run is billed no further than that', "$minute, liveness => '1 hour'", '10:00 r a start', '00:00 a 60');
owed('signs of life', "$minute, liveness => '10 minutes', changes => '{interim}'",
	'10:00 r a start; 10:10 r - interim; 10:20 r - interim; 10:50 r - interim', '00:00 a 40');
owed('a later start is a sign, too', "$minute, liveness => '10 minutes'", '10:00 r a start; 10:30 r - start; 10:35 r - stop', '00:00 a 15');
owed('a stop in a gap bills nothing of it', "$minute, liveness => '10 minutes'", '10:00 r a start; 10:30 r - stop', '00:00 a 10');
owed('a gap ends no run', "dimensions => '{}', aggregate => 'runs', liveness => '10 minutes', period => '1 day'", '10:00 r a start; 10:30 r - start; 10:35 r - stop', '00:00 a 1');
owed('observations are no signs', "$minute, liveness => '10 minutes'", '10:00 r a start; @ 10:30 z: r a', '00:00 a 10');
owed('what opens a run is one', "$minute, liveness => '10 minutes'", '@ 10:30 z: r a since=10:15', '00:00 a 10');
owed('and so are changes since then', "$minute, liveness => '10 minutes', changes => '{c}'", '10:22 r - c; @ 10:30 z: r a since=10:15', '00:00 a 17');
owed('a sign that is not known yet', "dimensions => '{}', rounding => 'none', liveness => '2 hours'", '10:00 r a start; 12:30 r - start; 13:30 r - stop',
	'10:00 a 60; 11:00 a 60', watermark => '12:00');
owed('and when it is', "dimensions => '{}', rounding => 'none', liveness => '2 hours'", '10:00 r a start; 12:30 r - start; 13:30 r - stop',
	'10:00 a 60; 11:00 a 60; 12:00 a 30; 13:00 a 30');
owed('rounded up, a gap is rounded, too', "dimensions => '{}', period => '1 day', liveness => '90 seconds'", '10:00 r a start; 10:10:30 r - start; 10:11 r - stop', '00:00 a 3');

group('per run');
my $run = "dimensions => '{}', rounding_of => 'run', period => '1 hour'";
owed('each run is rounded', $run, '10:00:55 c1 a start; 10:01:05 c1 - stop; 10:10:50 c2 a start; 10:13:25 c2 - stop', '10:00 a 1; 10:00 a 3');
owed('increments and a minimum', "$run, increment => '6 seconds', minimum => '30 seconds', unit => '1 second'",
	'10:00:05 c1 a start; 10:00:37 c1 - stop; 10:10 c2 a start; 10:10:10 c2 - stop; 10:20 c3 a start; 10:21:15 c3 - stop', '10:00 a 36; 10:00 a 30; 10:00 a 78');
owed('exact time while it lasts, the surplus at its end', "$run, increment => '1 hour'", '10:30 r a start; 11:15 r - stop', '10:00 a 30; 11:00 a 30');
owed('on the boundary it lies in the period that begins', "$run, increment => '1 hour'", '10:30 r a start; 11:00 r - stop', '10:00 a 30; 11:00 a 30');
owed('which is not settled yet', "$run, increment => '1 hour'", '10:30 r a start; 11:00 r - stop', '10:00 a 30', watermark => '11:00');
owed('an open run has none', "$run, increment => '1 hour'", '10:30 r a start', '10:00 a 30; 11:00 a 60', watermark => '12:00');
owed('one of no length has none', "$run, minimum => '1 hour'", '10:30 r a start; 10:30 r - stop', '');
owed('a restart makes two runs', "$run, increment => '1 hour'", '10:30 r a start; 10:45 r a start; 10:45 r - stop; 10:50 r - stop', '10:00 a 120');
owed('owed by who was billed last', "$run, increment => '1 hour', changes => '{t}'", '10:00 r a start; 10:20 r b t; 10:40 r c stop', '10:00 a 20; 10:00 b 40');
owed('in a gap, too', "$run, increment => '1 hour', changes => '{t}', liveness => '10 minutes'", '10:00 r a start; 10:20 r b t q=1; 10:40 r c pay; 11:40 r - stop',
	'10:00 a 10; 10:00 b 10; 11:00 b 40');
owed('weighted with the last value', "aggregate => 'weighted', dimensions => '{}', rounding_of => 'run', increment => '1 hour', changes => '{c}'",
	'10:00 r a start v=2; 10:20 r - c v=5; 10:40 r - stop', '10:00 a 240');
owed('minimum alone is exact beyond', "dimensions => '{}', rounding => 'none', minimum => '1 minute', unit => '1 second', period => '1 hour'",
	'10:00 r a start; 10:00:20 r - stop; 10:10 r - start; 10:11:20 r - stop', '10:00 a 140');
owed('an absence ends it at the last moment alive', "$run, increment => '1 hour'", '10:00 r a start s=z; @ 10:20 z: r a; @ 11:20 z:', '10:00 a 60');
owed('what it ends at its start has none', "$run, increment => '1 hour'", '10:00 r a start s=z; @ 11:20 z:', '');
owed('a cut makes two runs', "$run, increment => '1 hour'", '10:00 r a start s=z; @ 10:20 z: r a; @ 11:50 z: r a since=11:00; 12:00 r - stop', '10:00 a 60; 11:00 a 60');
owed('a run that began before the meter', "$run, increment => '1 hour', since => '2024-03-05 11:00Z'", '10:30 r a start; 11:15 r - stop', '11:00 a 30');

group('runs');
my $runs = "aggregate => 'runs', dimensions => '{}', period => '1 hour'";
owed('how many begin', $runs, '10:00 c1 a start; 10:05 c1 - stop; 10:10 c2 a start; 10:12 c2 - stop', '10:00 a 1; 10:00 a 1');
owed('restarts, and those of no length', $runs, '10:00 r a start; 10:05 r a start; 10:05 r - stop; 10:07 r - stop; 11:00 r - start; 11:00 r - stop; 12:00 r - start q=1; 12:00 r - stop q=2',
	'10:00 a 2; 11:00 a 1; 12:00 a 1');
owed('a start while open begins none', $runs, '10:00 r a start; 10:05 r a start', '10:00 a 1');
owed('for the owner and attributes after all of the instant', "aggregate => 'runs', dimensions => '{offering}', changes => '{c}'", '10:00 r a start o=s q=1; 10:00 r b c o=m q=2', '10:00 b m 1');
owed('by observations, and cuts', $runs, '@ 10:30 z: r a since=10:15; @ 12:30 z: r a since=11:00', '10:00 a 1; 11:00 a 1');
owed('what an absence cuts to nothing has begun', $runs, '10:00 r a start s=z; @ 11:20 z:', '10:00 a 1');

group('ownership');
owed('an action that is not listed names', $minute, '10:00 r a start; 11:00 r b transfer; 12:00 r - stop', '00:00 a 60; 00:00 b 60');
owed('a stop names what comes after', $minute, '10:00 r a start; 11:00 r b stop; 12:00 r - start; 13:00 r - stop', '00:00 a 60; 00:00 b 60');
owed('the greatest of a tie', $minute, '10:00 r a start; 10:00 r b name; 10:00 r B name; 11:00 r - stop', '00:00 b 60');
owed('the last of an instant by sequence', $minute, '10:00 r b start q=1; 10:00 r a name q=2; 11:00 r - stop', '00:00 a 60');
owed("'' releases", $minute, "10:00 r a start; 11:00 r '' give_back; 12:00 r b take; 13:00 r - stop", "00:00 '' 60; 00:00 a 60; 00:00 b 60");
owed("'' is the least of a tie", $minute, "10:00 r a start; 11:00 r '' x; 11:00 r b x; 12:00 r - stop", '00:00 a 60; 00:00 b 60');
owed("before the first name '' says nothing", $minute, "10:00 r '' start; 11:00 r b x; 12:00 r - stop", '00:00 b 120');
owed('the first name by time, then sequence', $minute, "10:00 r - start; 11:00 r b x q=2; 11:00 r a x q=1; 12:00 r - stop", '00:00 a 60; 00:00 b 60');
owed('nobody is named', $minute, "10:00 r - start; 11:00 r '' stop; 12:00 r - start; 13:00 r - stop", "00:00 '' 120");
owed('names at the watermark are not known', $minute, "10:00 r - start; 12:00 r a x", "00:00 '' 120", watermark => '12:00');
owed('a void names nobody', $minute, "10:00 r a start; 11:00 r b void s=x i=1; 12:00 r - stop", '00:00 a 120');
owed('what is taken back names nobody', $minute, "10:00 r a start; 11:00 r b x s=x i=1; 11:00 r - void s=x i=1; 12:00 r - stop", '00:00 a 120');
owed('by entity', "$minute, entity => 'vm'", '10:00 r a start e=vm; 10:30 r b x e=disk; 11:00 r c x; 12:00 r - stop e=vm', '00:00 a 60; 00:00 c 60');
owed('of any entity, without one', $minute, '10:00 r a start e=vm; 10:30 r b x e=disk; 11:00 r c x; 12:00 r - stop e=vm', '00:00 a 30; 00:00 b 30; 00:00 c 60');
owed('an observation names', $minute, '10:00 r a start; @ 11:00 z: r b; 12:00 r - stop', '00:00 a 60; 00:00 b 60');
owed('one that agrees with what the instant passes through does not', $minute, '10:00 r a start; 11:00 r b x q=1; 11:00 r c x q=2; @ 11:00 z: r b; 12:00 r - stop', '00:00 a 60; 00:00 c 60');
owed('nor with what was before it', $minute, '10:00 r a start; 11:00 r b x; @ 11:00 z: r a; 12:00 r - stop', '00:00 a 60; 00:00 b 60');
owed('what it opens is its from there on', $minute, '09:00 r b stop; @ 11:00 z: r a since=10:00; 12:00 r - stop', '00:00 a 120');
owed('unless another name lies in between', $minute, "09:00 r b stop; 10:30 r c x; @ 11:00 z: r a since=10:00; 12:00 r - stop", '00:00 a 60; 00:00 b 30; 00:00 c 30');
owed("'' too", $minute, "09:00 r b stop; 10:30 r '' x; @ 11:00 z: r a since=10:00; 12:00 r - stop", "00:00 '' 30; 00:00 a 60; 00:00 b 30");
owed('what agrees names nobody', $minute, "09:00 r b stop; 10:30 r a x; @ 11:00 z: r a since=10:00; 12:00 r - stop", '00:00 a 90; 00:00 b 30');
owed('both ends are in between', $minute, "10:00 r b stop; @ 11:00 z: r a since=10:00; 12:00 r - stop", '00:00 a 60; 00:00 b 60');
owed('it may be the first name', $minute, '09:00 r - start; 09:30 r - stop; @ 11:00 z: r a since=10:00; 12:00 r - stop', '00:00 a 150');
owed('released for all before', $minute, "09:00 r '' x; 10:00 r - start; @ 11:00 z: r a; 12:00 r - stop", '00:00 a 120');

group('entity');
owed('a stop may leave it out', "$minute, entity => 'vm'", '10:00 r a start e=vm; 11:00 r - stop', '00:00 a 60');
owed('and a change', "dimensions => '{offering}', rounding => 'none', period => '1 day', entity => 'vm', changes => '{c}'", '10:00 r a start e=vm o=s; 11:00 r - c o=m; 12:00 r - stop e=vm', '00:00 a m 60; 00:00 a s 60');
owed('and an end', "$minute, entity => 'vm', ends => '{end}'", '10:00 r a start e=vm; 11:00 r - end; 12:00 r - start e=vm', '00:00 a 60');
owed('a start may not', "$minute, entity => 'vm'", '10:00 r a start; 11:00 r - stop', '');
owed("'' is none", "$minute, entity => 'vm'", "10:00 r a start e=vm; 11:00 r - stop e=; 12:00 r - start e=", '00:00 a 60');
owed('that of another is none', "$minute, entity => 'vm'", '10:00 r a start e=vm; 11:00 r - stop e=disk', '00:00 a 840');

group('measures');
my $sum = "aggregate => 'sum', dimensions => '{}', period => '1 day'";
owed('the owner of what the measure is of', "$sum, entity => 'volume'", '10:00 7 globex x e=volume; 10:05 7 acme y e=vm; = 11:00 11:00 7 - 100 e=volume', '00:00 globex 100');
owed('to a meter without an entity, too', $sum, '10:00 7 globex x e=volume; 10:05 7 acme y e=vm; = 11:00 11:00 7 - 100 e=volume; = 11:00 11:00 7 - 7', '00:00 acme 7; 00:00 globex 100');
owed('cut where the owner changes', $sum, '09:00 r a x; 10:30 r b y; = 10:00 11:00 r - 100', '00:00 a 50; 00:00 b 50');
owed('not if it says whose it is', $sum, '09:00 r a x; 10:30 r b y; = 10:00 11:00 r c 100', '00:00 c 100');
owed("'' is nobody", $sum, "09:00 r a x; = 10:00 11:00 r '' 100", "00:00 '' 100");
owed('released', $sum, "09:00 r a x; 10:30 r '' y; = 10:00 11:00 r - 100", "00:00 '' 50; 00:00 a 50");
owed('none has no entity to a meter with one', "$sum, entity => 'ip'", '= 10:00 10:00 r a 5; = 10:00 10:00 r a 7 e=ip', '00:00 a 7');
owed('observations name', $sum, '09:00 r a x; @ 10:30 z: r b since=10:00; = 10:00 11:00 r - 100', '00:00 a 50; 00:00 b 50');

group('counters');
my $counter = "aggregate => 'counter', dimensions => '{}', period => '1 day'";
owed('the first is the base', $counter, '= 10:00 10:00 r a 100; = 11:00 11:00 r a 130', '00:00 a 30');
owed('its time is the end', "aggregate => 'counter', dimensions => '{}'", '= 09:00 10:00 r a 100; = 09:00 11:00 r a 130; = 09:00 12:00 r a 150', '11:00 a 30; 12:00 a 20');
owed('goes round', "$counter, modulus => 1000", '= 09:00 09:00 w a 999.93; = 09:30 09:30 w a 13.30', '00:00 a 13.37');
owed('goes round at 32 bits', "$counter, modulus => 4294967296", '= 10:00 10:00 s a 4294967000; = 10:10 10:10 s a 704', '00:00 a 1000');
owed('half of the modulus or more is no wrap', "$counter, modulus => 1000", '= 09:00 09:00 w a 600; = 09:30 09:30 w a 100', '00:00 a 100');
owed('nor if it is to be ignored', "$counter, modulus => 1000, drops => 'ignore'", '= 09:00 09:00 w a 600; = 09:30 09:30 w a 100; = 10:00 10:00 w a 610', '00:00 a 10');
owed('of the modulus or more is passed over', "$counter, modulus => 1000", '= 09:00 09:00 w a 990; = 09:10 09:10 w a 1000; = 09:30 09:30 w a 10', '00:00 a 20');
owed('a failed poll', "$counter, drops => 'ignore'", '= 10:00 10:00 p a 1000000; = 10:05 10:05 p a 0; = 10:10 10:10 p a 1000500', '00:00 a 500');
owed('a dip', "$counter, drops => 'ignore'", '= 10:00 10:00 s a 4294967290; = 10:10 10:10 s a 5; = 10:20 10:20 s a 4294967311', '00:00 a 21');
owed('what is stale adds nothing', "$counter, drops => 'ignore'", '= 10:00 10:00 s a 0; = 10:10 10:10 s a 1000; = 10:20 10:20 s a 2000; = 10:20:01 10:20:01 s a 1900', '00:00 a 2000');
owed('a drop is a reset', $counter, '= 10:00 10:00 r a 301.23; = 10:05 10:05 r a 302.26; = 10:10 10:10 r a 303.27; = 10:15 10:15 r a 31.8', '00:00 a 33.84');
owed('begins at zero', "$counter, begins => 'zero'", '= 10:05 10:05 t1 x 400; = 10:10 10:10 t1 x 900; = 11:05 11:05 t2 x 500', '00:00 x 900; 00:00 x 500');
owed('a series for each dimension', "aggregate => 'counter', dimensions => '{pod}', period => '1 day', begins => 'zero'", join("\n",
		(map { "= 10:0$_->[0] 10:0$_->[0] web acme $_->[1] " . 'attributes={"pod":"web-a"}' } [ 0, 3 ], [ 1, 8 ], [ 2, 15 ], [ 3, 21 ]),
		(map { "= 10:0$_->[0] 10:0$_->[0] web acme $_->[1] " . 'attributes={"pod":"web-b"}' } [ 5, 8 ], [ 6, 9 ], [ 7, 13 ], [ 8, 19 ])), '00:00 acme web-a 21; 00:00 acme web-b 19');
owed('below 0 is passed over', $counter, '= 10:00 10:00 r a -5; = 10:10 10:10 r a 10; = 10:20 10:20 r a -1; = 10:30 10:30 r a 15', '00:00 a 5');
owed('of one instant the greatest', $counter, '= 10:00 10:00 r a 10; = 10:10 10:10 r a 12; = 10:10 10:10 r b 20; = 10:20 10:20 r c 25', '00:00 b 10; 00:00 c 5');
owed('or the next, if that is passed over', "$counter, modulus => 100", '= 10:00 10:00 r a 10; = 10:10 10:10 r a 12; = 10:10 10:10 r b 120; = 10:20 10:20 r c 25', '00:00 a 2; 00:00 c 13');
my $start = "$counter, begins => 'start'";
owed('begins where it says', $start, '= 09:00 10:00 r a 100; = 09:00 11:00 r a 130', '00:00 a 130');
owed('not if that is its end', $start, '= 10:00 10:00 r a 100; = 10:00 11:00 r a 130', '00:00 a 30');
owed('nor before the meter', "$start, since => '2024-03-05 00:00Z'", '= 2024-03-04T23:00Z 10:00 r a 100; = 2024-03-04T23:00Z 11:00 r a 130', '00:00 a 30');
owed('begins anew', $start, '= 09:00 10:00 r a 100; = 10:30 11:00 r a 130; = 10:30 12:00 r a 140', '00:00 a 240');
owed('not at the reading before', $start, '= 09:00 10:00 r a 100; = 10:00 11:00 r a 130', '00:00 a 130');
owed('of an old process is passed over', $start, '= 09:00 10:00 r a 100; = 10:30 11:00 r a 5; = 09:00 11:30 r a 120; = 10:30 12:00 r a 9', '00:00 a 109');
owed('a second does not matter', $start, '= 09:00:01 10:00 r a 100; = 09:00 11:00 r a 120; = 08:59:59.999999 12:00 r a 150', '00:00 a 150');
owed('what says no start tells nothing of it', $start, '= 09:00 10:00 r a 100; = 10:30 10:30 r a 110; = 09:00 11:00 r a 120', '00:00 a 120');
owed('duplicates by the end', $counter, '= 09:00 10:00 r a 100 i=1; = 08:00 11:00 r a 130 i=1; = 08:30 12:00 r a 160 i=2', '00:00 a 60');
owed('and voids', $counter, '= 09:00 10:00 r a 100; = 08:00 11:00 r a 130 i=1; 09:30 r - void i=1; = 08:00 13:00 r a 140 i=1; 08:00 r - void i=1', '00:00 a 40', window => '90 minutes');

# The decided cases.
my $semantic = read_cases('semantic_cases.json');
my %title    = map { $_->{id} => $_->{title} } @{ $semantic->{cases} };
foreach my $case (@{ $semantic->{cases} })
{
	my @snapshots = (@{ $case->{snapshots} || [] }, @{ $case->{late_snapshots} || [] });
	next unless @snapshots || $case->{kind} =~ /^(measure|counter)$/;
	group("$case->{id} $case->{title}");
	my $sql = '';
	foreach my $s (@snapshots)
	{
		$sql .= "INSERT INTO world.snapshot (source, at) VALUES ('z', '$s->{at}');\n";
		$sql .= 'INSERT INTO world.inventory (source, at, resource, account, offering, value, since) VALUES ('
		  . join(', ', map { literal($_) } 'z', $s->{at}, 'r1', @$s{qw(account label value since)}) . ");\n" if $s->{held};
	}
	my @events = map { { %$_, source => $_->{source} // 'z' } } @{ $case->{events} || [] }, @{ $case->{late} || [] };
	$sql .= insert_events('world.event', @events);
	$sql .= 'INSERT INTO world.measure (source, id, start_time, end_time, resource, account, value) VALUES ('
	  . join(', ', map { literal($_) } @$_{qw(source id start end)}, $_->{resource} // 'r1', @$_{qw(account value)}) . ");\n" foreach @{ $case->{measures} || [] };
	$sql .= "INSERT INTO world.measure (start_time, end_time, resource, account, value) VALUES ('$_->{time}', '$_->{time}', 'r1', 'A', $_->{value});\n" foreach @{ $case->{samples} || [] };
	my %meter = (%{ $semantic->{defaults} }, %{ $case->{meter} }, $case->{kind} =~ /^(measure|counter)$/ ? (dimensions => '{}') : (changes => '{change}'));
	my $watermark = $case->{watermark_after} // $case->{watermark} // $case->{window}[1];
	# m11 counts the same id of two resources once; duplicates are of one resource, so both count
	my @usage = $case->{id} eq 'm11' ? map { { period_start => '2024-03-05T10:00:00Z', account => 'A', quantity => 7 } } 1, 2 : @{ $case->{expected}{usage} // $case->{expected}{after} };
	my $want = join('; ', sort map { substr($_->{period_start}, 11, 5) . ' ' . ($_->{account} // 'A') . ($meter{dimensions} ? '' : ' ' . ($_->{label} // '?')) . ' ' . number($_->{quantity}) } @usage);
	push @asked, [ "$group: decided", $want ];
	$script .= $sql . 'SELECT ' . literal("$group: decided") . ', pg_temp.owed(oracle.define(' . join(', ', meter_arguments(\%meter)) . "), '$watermark', '1 day');\n";
}

my $answer = answers($node, $script);
my %of;
push @{ $of{ (split /: /, $_->[0])[0] } }, $_ foreach @asked;
foreach my $name (sort keys %of)
{
	subtest $name => sub {
		foreach (@{ $of{$name} })
		{
			my $got = join('; ', sort split /; /, $answer->{ $_->[0] } // '(nothing)');
			is($got, join('; ', sort split /; /, $_->[1]), $_->[0]);
		}
	};
}
$node->stop;
done_testing();
