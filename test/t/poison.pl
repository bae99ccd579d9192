# Promise: whatever a role sends that may only insert, by whichever path, the healthy resources of the same meters are billed in the same step: also
# when the odd row comes late, when its segment is sealed, when the log is verified, and in what the views show. Time is bounded.
#
# Each row of @refused is refused at the door by each path that can carry it, and named with its column. Each of @taken goes in; `aside` has the
# meters that its own resource is set aside for then. A row of either list is { name, path => SQL, ... }, SQL being run as the producer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node  = start_server('poison');
my $tools = slurp_file("$FindBin::RealBin/../protobuf.sql");
my $limit = $PostgreSQL::Test::Utils::timeout_default;    # seconds a case may take, on a busy machine
$node->safe_psql('postgres', 'CREATE ROLE producer LOGIN');

# Runs statements; returns what went wrong, '' if nothing did.
sub attempt
{
	my ($sql, @more) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1, @more);
	return $stderr =~ /^(?:psql:.*?)?ERROR:\s+(.*)/m ? $1 : '';
}

# A stream whose producer has the rights that the documentation gives one, and meters of each kind.
sub make_stream
{
	my ($s) = @_;
	$node->safe_psql('postgres', <<"SQL");
SELECT meter.create_stream('$s');
GRANT USAGE ON SCHEMA $s TO producer;
GRANT INSERT (source, id, "time", resource, account, entity, action, offering, value, attributes) ON $s.event TO producer;
GRANT INSERT (source, id, start_time, end_time, resource, account, entity, value, attributes) ON $s.measure TO producer;
GRANT INSERT ON $s.inbox, $s.measure_inbox, $s.inventory TO producer;
SELECT meter.create_meter('$s', 'vm', aggregate => 'weighted', starts => '{start}', stops => '{stop}', dimensions => '{offering,note}', unit => '1 minute', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('$s', 'net', aggregate => 'sum', dimensions => '{note}', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('$s', 'reads', aggregate => 'counter', dimensions => '{note}', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('$s', 'worth', aggregate => 'weighted', starts => '{start}', stops => '{stop}', dimensions => '{}', value_from => 'worth', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.create_meter('$s', 'sums', aggregate => 'sum', dimensions => '{}', value_from => 'worth', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO $s.event (source, id, "time", resource, account, action, value) VALUES ('ok', '1', '2024-03-05 10:00Z', 'good', 'good', 'start', 2);
INSERT INTO $s.measure (source, id, start_time, end_time, resource, account, value) VALUES ('ok', '1', '2024-03-05 10:00Z', '2024-03-05 10:00Z', 'good', 'good', 7);
SQL
	return;
}

# Time goes on for all meters, and there is something new of the healthy resource.
my %hour;
sub tick
{
	my ($s) = @_;
	my $at = sprintf('2024-03-05 %d:00Z', 11 + ($hour{$s} // 0));
	$hour{$s}++;
	$node->safe_psql('postgres', <<"SQL");
INSERT INTO $s.event ("time", resource, account, action) VALUES ('$at', 'clock', 'x', 'tick');
INSERT INTO $s.measure (source, id, start_time, end_time, resource, account, value) VALUES ('ok', '$at', '$at', '$at', 'good', 'good', 7 + $hour{$s}), (NULL, NULL, '$at', '$at', 'clock', 'x', NULL);
CALL meter.run('$s');
SQL
	return;
}

# The healthy resource is billed up to the last tick, whatever there is beside it.
sub healthy
{
	my ($s, $what) = @_;
	my $n = $hour{$s};
	my $got = $node->safe_psql('postgres', <<"SQL");
SELECT string_agg(meter || ' ' || q, ', ' ORDER BY meter COLLATE "C") FROM (SELECT meter, trim_scale(sum(quantity)) q FROM $s.usage WHERE resource = 'good' GROUP BY meter) x;
SELECT coalesce(string_agg(meter || ': ' || last_error, '; '), 'no error') FROM meter.status WHERE stream = '$s';
SQL
	my $net = 7;
	$net += 7 + $_ for 1 .. $n - 1;
	is($got, "net $net, reads " . ($n - 1 > 0 ? $n - 1 : 0) . ', vm ' . 120 * $n . "\nno error", "$what: the healthy resource is billed")
	  if $n > 1;
	return;
}

# Log, verify, seal and look.
sub live_with
{
	my ($s, $name, $put, $aside) = @_;
	my $begin = time();
	tick($s);
	tick($s);
	healthy($s, "$name, in time");
	$put->('late') if $put;
	$node->safe_psql('postgres', qq{INSERT INTO $s.event ("time", resource, account, action) VALUES ('2024-03-05 10:00Z', 'clock', 'x', 'start'), ('2024-03-05 10:00Z', 'clock', 'x', 'stop')});
	tick($s);
	healthy($s, "$name, late");
	$node->safe_psql('postgres', "SELECT meter.roll('$s')");
	tick($s);
	tick($s);
	healthy($s, "$name, sealed");
	is($node->safe_psql('postgres', "SELECT count(*) FROM meter.log_segments('$s') WHERE segment = 0 AND state = 'sealed'"), '2', "$name: both logs are sealed");
	is($node->safe_psql('postgres', "SELECT count(*) FROM meter.verify('$s')"), '0', "$name: verify finds nothing");
	is($node->safe_psql('postgres', "SELECT coalesce(string_agg(DISTINCT meter, ' ' ORDER BY meter), '') FROM $s.quarantine"), $aside, "$name: what is set aside");
	is($node->safe_psql('postgres', "SELECT coalesce(string_agg(DISTINCT meter, ' ' ORDER BY meter), '') FROM $s.anomaly WHERE class = 'quarantined'"), $aside, "$name: and shown");
	is(attempt("SELECT count(*) FROM $s.anomaly; SELECT count(*) FROM $s.current_usage; SELECT count(*) FROM $s.usage_total;"
			. "SELECT count(*) FROM (SELECT transaction_id FROM $s.usage ORDER BY resource = 'good' LIMIT 20) u CROSS JOIN LATERAL meter.explain('$s', u.transaction_id) x"),
		'', "$name: views and explain answer");
	my $took = time() - $begin;
	cmp_ok($took, '<', $limit, "$name: in bounded time");
	return;
}

# The paths of an event given as JSON, and of a row by columns.
sub event_paths
{
	my ($columns, $json) = @_;
	my %paths;
	$paths{columns}  = qq{INSERT INTO STREAM.event (source, id, "time", resource, account, entity, action, offering, value, attributes) SELECT $columns} if defined $columns;
	return %paths unless defined $json;
	$paths{inbox}    = "INSERT INTO STREAM.inbox VALUES (($json)::text::meter.event)";
	$paths{text}     = "INSERT INTO STREAM.inbox SELECT ($json)::text";
	$paths{list}     = "SELECT meter.ingest_json('STREAM', jsonb_build_array($json)::text)";
	$paths{ingest}   = "SELECT meter.ingest('STREAM', ($json)::text::meter.event)";
	$paths{protobuf} = "SELECT meter.ingest_protobuf('STREAM', pg_temp.batch(($json)::text::meter.event))";
	$paths{stream}   = "INSERT INTO STREAM.inbox SELECT meter.events_from_protobuf_stream(pg_temp.stream(($json)::text::meter.event))";
	return %paths;
}

# An event with one field that is odd, by all paths; the value is an SQL expression of type text.
sub odd_event
{
	my ($field, $value) = @_;
	my %c = (source => "'p'", id => "'odd'", time => "'2024-03-05 10:00Z'", resource => "'odd'", account => "'p'", entity => 'NULL', action => "'start'",
		offering => 'NULL', value => '1', attributes => 'NULL', $field => $value);
	my $columns = join ', ', map { $_ eq 'time' ? "($c{$_})::timestamptz" : $_ eq 'value' ? "($c{$_})::numeric" : $_ eq 'attributes' ? "($c{$_})::jsonb" : $c{$_} }
	  qw(source id time resource account entity action offering value attributes);
	my $json = qq{jsonb_build_object('source', 'p', 'id', 'odd', 'time', '2024-03-05T10:00:00Z', 'resource', 'odd', 'action', 'start') || jsonb_build_object('$field', $value)};
	$json =~ s/jsonb_build_object\('attributes', (.*)\)$/jsonb_build_object('attributes', ($1)::jsonb)/;
	return event_paths($columns, $json);
}

# A measure, or a row of the inventory, with one column that is odd.
sub odd_measure
{
	my ($column, $value) = @_;
	my %c = (start_time => "'2024-03-05 10:00Z'", end_time => "'2024-03-05 10:30Z'", resource => "'odd'", account => "'p'", value => '1', $column => $value);
	my %paths = (measure => "INSERT INTO STREAM.measure (" . join(', ', sort keys %c) . ") SELECT " . join(', ', map { $c{$_} } sort keys %c));
	return %paths if $value =~ /BC/;    # which JSON does not say
	my $json = 'jsonb_build_object(' . join(', ', map { literal($_) . ', ' . ($c{$_} =~ /^'(\d{4,6}-\d\d-\d\d)( \d\d:\d\d)?Z?'$/ ? literal($1 . 'T' . ($2 // ' 00:00') . 'Z') =~ s/T /T/r : $c{$_}) } sort keys %c) . ')';
	$paths{measure_inbox} = "INSERT INTO STREAM.measure_inbox VALUES (($json)::text)";
	$paths{measure_jsonb} = "INSERT INTO STREAM.measure_inbox VALUES ($json)";
	$paths{measure_list}  = "SELECT meter.ingest_json('STREAM', jsonb_build_array($json)::text, true)";
	$paths{measure_batch} = "SELECT meter.ingest_protobuf('STREAM', '\\x2a' || pg_temp.delimited(meter.measure_to_protobuf(($json)::meter.measure)))";
	return %paths;
}
sub odd_inventory
{
	my ($column, $value) = @_;
	my %c = (source => "'p'", at => "'2024-03-05 10:00Z'", resource => "'odd'", $column => $value);
	return (inventory => "INSERT INTO STREAM.inventory (" . join(', ', sort keys %c) . ") SELECT " . join(', ', map { $c{$_} } sort keys %c));
}

my $random = sub { "(SELECT left(string_agg(md5(g::text), ''), $_[0]) FROM generate_series(1, $_[0] / 32 + 1) g)" };
my @refused;
for my $bytes (3200, 2600, 2700)
{
	push @refused, { name => "a resource of $bytes random bytes", column => 'resource', odd_event('resource', $random->($bytes)), odd_measure('resource', $random->($bytes)), odd_inventory('resource', $random->($bytes)) };
}
for my $bytes (100_000, 300_000, 5_000_000)
{
	push @refused, { name => "a resource of $bytes bytes that compress", column => 'resource', odd_event('resource', "repeat('x', $bytes)"), odd_measure('resource', "repeat('x', $bytes)"), odd_inventory('resource', "repeat('x', $bytes)") };
}
push @refused, { name => 'a resource with an action that nobody lists', column => 'resource', event_paths("'p', NULL, '2024-03-05 10:00Z', " . $random->(3200) . ", NULL, NULL, 'whatever', NULL, NULL, NULL",
		"jsonb_build_object('time', '2024-03-05T10:00:00Z', 'action', 'whatever', 'resource', " . $random->(3200) . ')') };
push @refused, { name => 'an id of 3000 random bytes', column => 'id', odd_event('id', $random->(3000)), odd_measure('id', $random->(3000)) };
push @refused, { name => 'a void of an id of 3000 bytes', column => 'id', event_paths("'p', " . $random->(3000) . ", '2024-03-05 10:00Z', 'good', NULL, NULL, 'void', NULL, NULL, NULL",
		"jsonb_build_object('time', '2024-03-05T10:00:00Z', 'action', 'void', 'resource', 'good', 'id', " . $random->(3000) . ')') };
push @refused, { name => 'a source of 3000 bytes', column => 'source', odd_event('source', $random->(3000)), odd_measure('source', $random->(3000)), odd_inventory('source', $random->(3000)),
	ingest_measures => "SELECT meter.ingest_measures('STREAM', repeat('s', 3000), '')" };
for my $field (qw(account offering entity))
{
	push @refused, { name => "$field of $_ bytes", column => $field, odd_event($field, "repeat('x', $_)"), odd_inventory($field, "repeat('x', $_)"), $field eq 'offering' ? () : odd_measure($field, "repeat('x', $_)") } for 10_000, 5_000_000;
}
push @refused, { name => '5 MB of quotes in an attribute that no meter reads', column => 'attributes', odd_event('attributes', q{jsonb_build_object('x', repeat('"', 5000000))}), odd_measure('attributes', q{jsonb_build_object('x', repeat('"', 5000000))}) };
for my $value ('9e131071', '-9e131071', '1e-16383', '1e100', '1e-101')
{
	push @refused, { name => "a value of $value", column => 'value', odd_event('value', "${value}::numeric"), odd_measure('value', $value), odd_inventory('value', $value) };
}
for my $value ('NaN', 'Infinity')
{
	push @refused, { name => "a value of $value", column => 'value', odd_event('value', "'$value'"), odd_measure('value', "'$value'"), odd_inventory('value', "'$value'") };
}
push @refused, { name => 'an event at 4713 BC', column => 'time', event_paths("'p', NULL, '4713-01-01 BC', 'odd', 'p', NULL, 'start', NULL, 1, NULL", undef) };
push @refused, { name => "an event in the year $_", column => 'time', odd_event('time', "'$_-01-01T00:00:00Z'") } for 10_000, 294_276;
push @refused, { name => 'a measure from one end of time to the other', column => 'start_time', odd_measure('start_time', "'4713-01-01 BC'") };
push @refused, { name => 'a measure that ends in 294276', column => 'end_time', odd_measure('end_time', "'294276-01-01'") };
push @refused, { name => 'a measure that ends before it starts', column => 'end_time', odd_measure('end_time', "'2024-03-05 09:59Z'") };
push @refused, { name => 'a row of the inventory at the end of time', column => 'at', odd_inventory('at', "'294276-01-01'") };
push @refused, { name => "no $_", column => $_, odd_event($_, "''"), $_ eq 'resource' ? (odd_measure($_, "''"), odd_inventory($_, "''")) : () } for qw(resource action);
push @refused, { name => "attributes $_", column => 'attributes', odd_event('attributes', "'$_'"), odd_measure('attributes', "'$_'"), odd_inventory('attributes', "'$_'") } for '[]', '1', '"x"';
push @refused, { name => 'attributes null', column => 'attributes', event_paths("'p', NULL, '2024-03-05 10:00Z', 'odd', 'p', NULL, 'start', NULL, 1, 'null'::jsonb", undef) };
for my $attributes ('[]', '1', 'null', '{"meter":"vm","tolerance":-1}', '{"meter":"vm","tolerance":1e131000}', '{"meter":"vm","since":"294276-01-01T00:00:00Z"}', '{"meter":"vm","alive":"now"}')
{
	push @refused, { name => "an observation by hand with attributes $attributes", column => '(?:attributes|tolerance|since|alive)',
		event_paths("'p', NULL, '2024-03-05 10:00Z', 'odd', 'p', NULL, 'reconciled:start', NULL, NULL, '$attributes'::jsonb", undef) };
}
{
	my %paths = odd_event('action', q{'reconciled:start'});
	delete $paths{columns};
	push @refused, { name => 'an observation by hand', column => 'reconciled:start', %paths };
}
for my $unit ('1709632800', '1709632800000', '1709632800000000000')
{
	push @refused, { name => "a UsageEvent at $unit", column => 'time',
		protobuf => "SELECT meter.ingest_protobuf('STREAM', '\\x0a' || pg_temp.delimited('\\x08' || pg_temp.varint($unit) || '\\x12036f64641a057374617274'))",
		stream   => "INSERT INTO STREAM.inbox SELECT meter.events_from_protobuf_stream(pg_temp.delimited('\\x08' || pg_temp.varint($unit) || '\\x12036f64641a057374617274'))" };
}

# All in one session, in which an error ends nothing.
make_stream('refused');
my $script = "SET SESSION AUTHORIZATION producer;\n$tools\n";
my @tries;
for my $row (@refused)
{
	for my $path (grep { !/^(name|column)$/ } sort keys %$row)
	{
		push @tries, [ $row, $path ];
		$script .= "\\warn == $#tries\n" . ($row->{$path} =~ s/STREAM/refused/gr) . ";\n";
	}
}
my $begin = time();
my ($stdout, $stderr) = ('', '');
$node->psql('postgres', $script, stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
my %said = $stderr =~ /^== (\d+)\n(.*?)(?=^== |\z)/gms;
for my $i (0 .. $#tries)
{
	my ($row, $path) = @{ $tries[$i] };
	my $what = "$row->{name}, by $path";
	my ($error) = ($said{$i} // '') =~ /ERROR:\s+(.*?)(?:^CONTEXT|^LINE|\z)/ms;
	like($error // '', qr/\b$row->{column}\b|the event is longer than 16 MB/, "$what: refused, and the column is named");
	cmp_ok(length($error // ''), '<', 500, "$what: in few words");
}
cmp_ok(time() - $begin, '<', 5 * $limit, 'all are refused at once');
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM refused.event) || ' ' || (SELECT count(*) FROM refused.measure) || ' ' || (SELECT count(*) FROM refused.inventory)"), '1 1 0', 'nothing of it is logged');
live_with('refused', 'after all that was refused', undef, '');

my $largest = "'{}'::jsonb || jsonb_build_object('note', (SELECT left(string_agg(md5(n || ':' || g::text), ''), 65000) FROM generate_series(1, 2040) g))";
my @taken = (
	{
		name    => 'all at its limit',
		columns => qq{INSERT INTO STREAM.event (source, id, "time", resource, account, entity, action, offering, value, attributes) SELECT } . $random->(255) . ', ' . $random->(1000) . ", '2024-03-05 10:00Z', " . $random->(1000) . ', ' . $random->(1000)
		  . ", 'e', a, " . $random->(255) . ", repeat('9', 100)::numeric, CASE WHEN a = 'start' THEN $largest END FROM (VALUES (1, 'start')) x (n, a)",
		void => qq{INSERT INTO STREAM.event (source, id, "time", resource, action) SELECT } . $random->(255) . ', ' . $random->(1000) . ", '2024-03-05 10:00Z', " . $random->(1000) . ", 'void'",
		odd  => qq{INSERT INTO STREAM.event ("time", resource, action) SELECT '2024-03-05 10:20Z', } . $random->(1000) . ", 'whatever'",
		measure => 'INSERT INTO STREAM.measure (source, id, start_time, end_time, resource, account, value, attributes) SELECT ' . $random->(255) . ", n || " . $random->(900)
		  . ", '2024-03-05 10:00Z', '2024-03-05 10:30Z', " . $random->(1000) . ', ' . $random->(1000) . ", n * repeat('9', 90)::numeric, $largest FROM generate_series(1, 3) n",
		inventory => "INSERT INTO STREAM.inventory (source, at, resource, account, attributes) SELECT " . $random->(255) . ", '2024-03-05 10:10Z', 'r' || " . $random->(900) . ', ' . $random->(1000) . ", $largest FROM (VALUES (1)) x (n)",
	},
	{
		name    => 'decimals of 100 digits',
		columns => qq{INSERT INTO STREAM.event ("time", resource, account, action, value) VALUES ('2024-03-05 10:00:01Z', 'odd', 'p', 'start', 1e-100)},
		measure => "INSERT INTO STREAM.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 10:00Z', '2024-03-05 10:50Z', 'odd', 'p', 1e-100), ('2024-03-05 10:00Z', '2024-03-05 11:50Z', 'odd', 'p', repeat('9', 99)::numeric)",
	},
	{
		name    => '2,000 observations by hand',
		columns => qq{INSERT INTO STREAM.event (source, "time", resource, account, action, attributes) SELECT 'p', '2024-03-05 10:00Z'::timestamptz + n * interval '1 ms', 'odd', 'p', (ARRAY['reconciled:start', 'reconciled:stop'])[1 + n % 2], '{"meter":"vm"}' FROM generate_series(1, 2000) n},
	},
	{
		name    => '2,000 duplicates of one id at one time',
		columns => qq{INSERT INTO STREAM.event (source, id, "time", resource, account, action, value) SELECT 'p', 'd', '2024-03-05 10:00Z', 'odd', 'p', 'start', n FROM generate_series(1, 2000) n},
		measure => "INSERT INTO STREAM.measure (source, id, start_time, end_time, resource, account, value) SELECT 'p', 'd', '2024-03-05 10:00Z', '2024-03-05 10:00Z', 'odd', 'p', n FROM generate_series(1, 2000) n",
	},
	{
		name    => '2,000 duplicates of one id, 1 ms apart',
		columns => qq{INSERT INTO STREAM.event (source, id, "time", resource, account, action, value) SELECT 'p', 'd', '2024-03-05 10:00Z'::timestamptz + n * interval '1 ms', 'odd', 'p', 'start', n FROM generate_series(1, 2000) n},
		measure => "INSERT INTO STREAM.measure (source, id, start_time, end_time, resource, account, value) SELECT 'p', 'd', t, t, 'odd', 'p', n FROM generate_series(1, 2000) n CROSS JOIN LATERAL (SELECT '2024-03-05 10:00Z'::timestamptz + n * interval '1 ms' AS t) t",
	},
	{
		name    => '100 dimensions of 65 kB each',
		columns => qq{INSERT INTO STREAM.event ("time", resource, account, action, value, attributes) SELECT '2024-03-05 10:00Z'::timestamptz + n * interval '1 s', 'odd', 'p', 'start', 1, $largest FROM generate_series(1, 100) n},
		measure => "INSERT INTO STREAM.measure (start_time, end_time, resource, account, value, attributes) SELECT t, t, 'odd', 'p', n, $largest FROM generate_series(1, 100) n CROSS JOIN LATERAL (SELECT '2024-03-05 10:00Z'::timestamptz + n * interval '1 s' AS t) t",
	},
	{
		name    => 'numbers in an attribute that are beyond computing',
		columns => qq{INSERT INTO STREAM.event ("time", resource, account, action, value, attributes) VALUES ('2024-03-05 10:00:01Z', 'odd', 'p', 'start', 1, '{"worth": 9e131071}'), ('2024-03-05 10:00:01Z', 'odd too', 'p', 'start', 1, '{"worth": "9e131071"}')},
		measure => qq{INSERT INTO STREAM.measure (start_time, end_time, resource, account, value, attributes) SELECT '2024-03-05 10:00Z', '2024-03-05 11:50Z', 'odd', 'p', 1, '{"worth": 9e131071}' FROM generate_series(1, 2)},
		aside   => 'sums worth',
	},
	{
		name    => '70,000 sources of one resource',
		columns => qq{INSERT INTO STREAM.event (source, "time", resource, account, action, value) SELECT 's' || n, '2024-03-05 10:00Z'::timestamptz + n * interval '1 ms', 'odd', 'p', 'start', 1 FROM generate_series(1, 70000) n},
		aside   => 'vm worth',
	},
	{
		name    => 'more labels than a resource has room for',
		memory  => '32MB',
		columns => qq{INSERT INTO STREAM.event ("time", resource, account, action, value, attributes) SELECT '2024-03-05 10:00Z'::timestamptz + n * interval '1 s', 'odd', 'p', CASE n % 2 WHEN 0 THEN 'start' ELSE 'stop' END, 1, $largest FROM generate_series(1, 700) n},
		aside   => 'vm',
	});

my $n = 0;
for my $row (@taken)
{
	my $s = 'taken_' . ++$n;
	make_stream($s);
	$node->safe_psql('postgres', "LOAD 'meter'; ALTER DATABASE postgres SET meter.resource_memory = '$row->{memory}'") if $row->{memory};
	my $put = sub {
		my ($when) = @_;
		for my $path (grep { !/^(name|aside|memory)$/ } sort keys %$row)
		{
			my $sql = $row->{$path} =~ s/STREAM/$s/gr;
			next if $path eq 'inventory' && $when eq 'late';
			is(attempt("SET SESSION AUTHORIZATION producer;\n$sql"), '', "$row->{name}, by $path: taken $when");
		}
	};
	$put->('in time');
	if ($row->{inventory})
	{
		is(attempt("SELECT * FROM meter.reconcile('$s', (SELECT max(source) FROM $s.inventory), '2024-03-05 10:10Z')"), '', "$row->{name}: reconciled");
	}
	live_with($s, $row->{name}, $put, $row->{aside} // '');
	$node->safe_psql('postgres', "SELECT meter.drop_stream('$s', true)");
}
done_testing();
