# Promise: measures come out exactly: the decided cases, a thousand duplicates as one, and a real log of half a million.
#
# Each case of kind measure and counter is asked of a stream in five ways, which differ in when its rows arrive: all ahead of the first
# settle, each in the hour it happened, and at any time. One meter settles every hour, another one all at once.
#
# The log lies in $METER_DATA/port-bytes (byte counts of the ports of a switch); without it, or without xz, that part skips itself. In
# order all of it is settled; shuffled and doubled so many percent of the ports.
#
#   METER_SEED=n     shuffles as before
#   METER_SHARE=n    so many percent; 20 if not said
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use JSON::PP;
use List::Util qw(min shuffle sum0);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed     = seed();
my $node     = start_server('quantities');
my $semantic = read_cases('semantic_cases.json');
my @ways     = ('ahead', 'live', map { "random$_" } 1 .. 3);

# m11 counts the same id of two resources once; duplicates are of one resource, so both count.
my %decided = (m11 => [ map { { period_start => '2024-03-05T10:00:00Z', account => 'A', resource => $_, quantity => '7' } } 'ip1', 'ip2' ]);

sub row_values
{
	return '(' . join(', ', map { literal($_) } @_) . ')';
}

sub insert_rows
{
	my ($stream, @rows) = @_;
	my %values;
	push @{ $values{ defined $_->{end} ? 'measure' : 'event' } }, $_ foreach @rows;
	my $sql = '';
	$sql .= "INSERT INTO $stream.measure (source, id, start_time, end_time, resource, account, value) VALUES "
	  . join(', ', map { row_values(@$_{qw(source id start end resource account value)}) } @{ $values{measure} }) . ";\n" if $values{measure};
	$sql .= qq(INSERT INTO $stream.event ("time", resource, account, action) VALUES )
	  . join(', ', map { row_values(@$_{qw(time resource account kind)}) } @{ $values{event} }) . ";\n" if $values{event};
	return $sql;
}

# 'period resource account quantity; …'
sub usage_of
{
	my ($stream, $meter, $way) = @_;
	return "SELECT coalesce(string_agg(format('%s %s %s %s', to_char(period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
	  . "substr(resource, length('$way ') + 1), account, trim_scale(quantity)), '; ' ORDER BY period_start, resource, account), '') "
	  . "FROM $stream.usage_total WHERE meter = '$meter' AND resource LIKE '$way %' AND quantity <> 0";
}

sub settle
{
	my ($stream, $meter, $now) = @_;
	return "SET meter.now = '$now'; SELECT FROM meter.advance('$stream', '$meter');\n";
}

foreach my $case (grep { $_->{kind} =~ /^(measure|counter)$/ } @{ $semantic->{cases} })
{
	my $id        = $case->{id};
	my $stream    = "case_$id";
	my ($from, $to) = @{ $case->{window} };
	my $aggregate = $case->{meter}{aggregate};
	my @rows      = (
		@{ $case->{measures} || [] }, @{ $case->{events} || [] },
		map { { start => $_->{time}, end => $_->{time}, value => $_->{value}, resource => 'c', account => 'A' } } @{ $case->{samples} || [] });
	my $want = join('; ',
		map { "$_->{period_start} " . ($_->{resource} // 'c') . ' ' . ($_->{account} // 'A') . " $_->{quantity}" }
		sort { $a->{period_start} cmp $b->{period_start} or ($a->{resource} // '') cmp($b->{resource} // '') or ($a->{account} // '') cmp($b->{account} // '') }
		@{ $decided{$id} || $case->{expected}{usage} });
	my @hours = map { stamp(seconds($from) + 3600 * $_) } 1 .. (seconds($to) - seconds($from)) / 3600;
	my @arrives;
	foreach my $row (@rows)
	{
		my $time = $row->{start} // $row->{time};
		push @{ $arrives[ $_ eq 'ahead' ? 0 : $_ eq 'live' ? min(scalar(@hours), scalar(grep { $_ le $time } @hours)) : int(rand(@hours + 1)) ] },
		  { %$row, resource => "$_ $row->{resource}" } foreach @ways;
	}
	my $create  = "SELECT FROM meter.create_meter('$stream', '%s', aggregate => '$aggregate', dimensions => '{}', lateness => '0', max_lateness => NULL, since => %s);\n";
	my $script  = "SELECT FROM meter.create_stream('$stream');\n" . sprintf($create, 'hourly', literal($from));
	foreach my $n (0 .. @hours)
	{
		$script .= insert_rows($stream, shuffle @{ $arrives[$n] || [] }) . settle($stream, 'hourly', $hours[$n] // $to);
	}
	$script .= sprintf($create, 'once', 'NULL') . settle($stream, 'once', $to);
	foreach my $meter ('hourly', 'once')
	{
		$script .= "SELECT '$meter $_', (" . usage_of($stream, $meter, $_) . ");\n" foreach @ways;
	}
	$script .= "SELECT 'again', sum(usage_rows + adjustments + late_rows) FROM meter.advance('$stream');\n";
	$script .= "SELECT 'verify', count(*) FROM meter.verify('$stream');\n";
	my $answer = answers($node, $script);
	subtest "$id $case->{title}" => sub {
		foreach my $meter ('hourly', 'once')
		{
			is($answer->{"$meter $_"}, $want, "$meter, $_") foreach @ways;
		}
		is($answer->{again},  '0', 'a second settle has nothing to do');
		is($answer->{verify}, '0', 'verify is empty');
	};
}

# Other systems' cases: their events are measures of no length; quantities may come as text, in an attribute. What they compute in floating
# point is compared to 13 digits.
my %peer_aggregate = (event_count => 'count', dedupe_count => 'count', counter_delta => 'counter', quantity_sum => 'sum', quantity_count => 'count',
	quantity_min => 'min', quantity_max => 'max', quantity_unique_count => 'unique', quantity_latest => 'latest');
foreach my $case (grep { $peer_aggregate{ $_->{kind} } } @{ read_cases('peer_cases.json') })
{
	(my $stream = "peer_$case->{id}") =~ s/\W/_/g;
	my $aggregate = $peer_aggregate{ $case->{kind} };
	my $attribute = $case->{kind} eq 'quantity_unique_count' ? 'name' : $case->{kind} =~ /^quantity/ && $aggregate ne 'count' ? 'amount' : 'value';
	my $n = 0;
	my @values;
	foreach my $e (@{ $case->{events} })
	{
		foreach my $duplicate (1 .. $e->{repeat} // 1)
		{
			my $time = seconds($e->{time}) + ($case->{kind} eq 'dedupe_count' ? int(rand(86400)) : 0);
			push @values, '(' . join(', ', literal($e->{source}), literal($e->{id}), ("to_timestamp($time)") x 2, "'r'", "'A'", literal($e->{value}),
				literal(JSON::PP->new->canonical->encode({ amount => $e->{value}, name => $e->{name} }))) . ')';
		}
	}
	my $answer = answers($node, <<"SQL");
SELECT FROM meter.create_stream('$stream');
INSERT INTO $stream.measure (source, id, start_time, end_time, resource, account, value, attributes) VALUES @{[ join(', ', shuffle @values) ]};
SELECT FROM meter.create_meter('$stream', 'm', aggregate => '$aggregate', dimensions => '{}', period => '1 day', lateness => '0', value_from => '$attribute');
SET meter.now = '2026-01-01 00:00Z';
CALL meter.run('$stream');
SELECT 'quantity', abs(sum(quantity) - $case->{expected}) < 1e-11 FROM $stream.usage;
SELECT 'verify', count(*) FROM meter.verify('$stream');
SQL
	subtest "$case->{id} $case->{name}" => sub {
		is($answer->{quantity}, 't', "$aggregate is $case->{expected}");
		is($answer->{verify},   '0', 'verify is empty');
	};
}

subtest 'a thousand duplicates in different batches, with different times within a day, count once, at the least time' => sub {
	my @duplicates = shuffle map { [ 3600 * 24 * $_ / 1000, $_ ] } 0 .. 999;
	my $script = <<'SQL';
SELECT FROM meter.create_stream('duplicates');
SELECT meter.create_meter('duplicates', a, aggregate => a, dimensions => '{}', lateness => '0', since => '2024-03-05 00:00Z')
FROM unnest('{sum,count,max}'::text[]) a;
SQL
	foreach my $batch (0 .. 9)
	{
		$script .= 'INSERT INTO duplicates.measure (source, id, start_time, end_time, resource, account, value) VALUES '
		  . join(', ', map { sprintf("('s', 'x', '2024-03-05 00:00Z'::timestamptz + interval '%d s', '2024-03-05 00:00Z'::timestamptz + interval '%d s', 'r', 'A', %d)",
				$_->[0], $_->[0] + 60, 1 + $_->[1]) } @duplicates[ $batch * 100 .. $batch * 100 + 99 ]) . ";\n";
		# others, and those without an id: each counts
		$script .= "INSERT INTO duplicates.measure (source, id, start_time, end_time, resource, account, value) VALUES "
		  . "('t', 'x$batch', '2024-03-05 01:00Z', '2024-03-05 01:01Z', 'other', 'A', 1), (NULL, NULL, '2024-03-05 01:00Z', '2024-03-05 01:01Z', 'other', 'A', 1);\n";
		$script .= sprintf("SET meter.now = '2024-03-05 00:00Z';\nSET meter.now = '%s';\n", stamp(seconds('2024-03-05T00:00:00Z') + 3600 * 3 * ($batch + 1)));
		$script .= "CALL meter.run('duplicates');\nSELECT 'verify $batch', count(*) FROM meter.verify('duplicates');\n";
	}
	$script .= "SELECT meter || ' ' || resource, string_agg(extract(hour FROM period_start AT TIME ZONE 'UTC') || ': ' || quantity, ', ' ORDER BY period_start) "
	  . "FROM duplicates.usage_total WHERE quantity <> 0 GROUP BY meter, resource;\n";
	$script .= "SELECT 'conflicting', count(*) FROM duplicates.anomaly WHERE class = 'conflicting duplicate';\n";
	my $answer = answers($node, $script);
	is($answer->{"verify $_"}, '0', "verify is empty after batch $_") foreach 0 .. 9;
	is($answer->{'sum r'},       '0: 1',   'sum');
	is($answer->{'count r'},     '0: 1',   'count');
	is($answer->{'max r'},       '0: 1',   'max');
	is($answer->{'count other'}, '1: 20',  'what is no duplicate counts');
	is($answer->{conflicting},   '999',    'they are listed');
};

SKIP:
{
	my $folder = ($ENV{METER_DATA} // '') . '/port-bytes';
	my $file   = "$folder/leaf-1.tar.xz";
	skip 'no log: METER_DATA does not lead to port-bytes', 1 unless -r $file;
	skip 'no xz', 1 if system('command -v xz >/dev/null') != 0;
	my $share = $ENV{METER_SHARE} // 20;
	my $truth = JSON::PP->new->decode(slurp_file("$folder/truth.json"))->{totals};

	# A measure is what a port counted since its row before; the first of each has no start.
	$node->safe_psql('postgres', <<"SQL");
SELECT setseed($seed / 1e9);
CREATE TABLE raw (day text, ms bigint, device text, port text, in_packets bigint, in_bytes numeric, out_packets bigint, out_bytes numeric, in_ratio text, out_ratio text);
COPY raw FROM PROGRAM 'xz -dc "$file" | tar -xOf - | grep -v ^SaveTime' (FORMAT csv, ENCODING 'UTF8');
CREATE TABLE feed AS SELECT * FROM (SELECT to_timestamp(lag(ms) OVER (PARTITION BY port ORDER BY ms) / 1000.0) AS start_time,
	to_timestamp(ms / 1000.0) AS end_time, port AS resource, device AS account, in_bytes, out_bytes, port || ms AS id FROM raw) f WHERE start_time IS NOT NULL;
CREATE TABLE batch AS SELECT 'leaf-1' AS source, f.*, floor(random() * 10)::int AS batch
	FROM feed f JOIN (SELECT resource, row_number() OVER (ORDER BY resource) AS port FROM feed GROUP BY 1) p USING (resource), generate_series(1, 2) duplicate
	WHERE port * $share % 100 < $share;
SQL
	my $script = "SELECT setseed($seed / 1e9);\n";
	foreach my $way ('once', 'shuffled')
	{
		$script .= "SELECT FROM meter.create_stream('$way');\n";
		$script .= "SELECT meter.create_meter('$way', d || '_bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', value_from => d || '_bytes') FROM unnest('{in,out}'::text[]) d;\n";
	}
	my $insert = "INSERT INTO %s.measure (source, id, start_time, end_time, resource, account, attributes) "
	  . "SELECT 'leaf-1', id, start_time, end_time, resource, account, jsonb_build_object('in_bytes', in_bytes, 'out_bytes', out_bytes) FROM %s ORDER BY %s;\n";
	$script .= sprintf($insert, 'once', 'feed', 'resource, start_time');
	$script .= "SET meter.now = '2024-05-23 17:00Z';\nCALL meter.run('once');\n";
	foreach my $batch (0 .. 9)
	{
		$script .= sprintf($insert, 'shuffled', "batch WHERE batch = $batch", 'random()');
		$script .= "SET meter.now = '2024-05-23 " . ($batch < 3 ? '16:00' : $batch < 6 ? '16:30' : '17:00') . "Z';\n";
		$script .= "CALL meter.run('shuffled');\n";
		$script .= "SELECT 'shuffled verify $batch', count(*) FROM meter.verify('shuffled');\n" if $batch == 4;
	}
	foreach my $way ('once', 'shuffled')
	{
		foreach my $d ('in', 'out')
		{
			my $from = $way eq 'once' ? 'feed' : 'feed WHERE resource IN (SELECT resource FROM batch)';
			$script .= "SELECT '$way $d', sum(quantity) FROM $way.usage WHERE meter = '${d}_bytes';\n";
			$script .= "SELECT '$way $d is', sum(${d}_bytes) FROM $from;\n";
			$script .= "SELECT '$way $d differences', count(*) FROM (SELECT resource, account, period_start, sum(quantity) FROM $way.usage WHERE meter = '${d}_bytes' GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0) u "
			  . "FULL JOIN (SELECT resource, account, date_trunc('hour', start_time) AS period_start, sum(${d}_bytes) FROM $from GROUP BY 1, 2, 3 HAVING sum(${d}_bytes) <> 0) f "
			  . "USING (resource, account, period_start) WHERE u.sum IS DISTINCT FROM f.sum;\n";
		}
		$script .= "SELECT '$way verify', count(*) FROM meter.verify('$way');\n";
		$script .= "SELECT '$way again', sum(usage_rows + adjustments + late_rows) FROM meter.advance('$way');\n";
	}
	my $answer = answers($node, $script);
	subtest 'half a million byte counts, in order and shuffled, doubled, in ten batches with settles in between' => sub {
		foreach my $way ('once', 'shuffled')
		{
			foreach my $d ('in', 'out')
			{
				is($answer->{"$way $d"}, $way eq 'once' ? $truth->{"${d}_bytes"} : $answer->{"$way $d is"}, "$way: bytes $d");
				is($answer->{"$way $d differences"}, '0', "$way: by hour and port as in plain SQL");
			}
			is($answer->{"$way verify"}, '0', "$way: verify is empty");
			is($answer->{"$way again"}, '0', "$way: a second settle has nothing to do");
		}
		is($answer->{'shuffled verify 4'}, '0', 'shuffled: verify is empty half way');
	};
}

$node->stop;
done_testing();
