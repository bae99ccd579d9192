# Promise: the same event goes in by each ingestion path and in each format, and comes out the same in each; a program that speaks the COPY protocol
# and protobuf, and knows nothing of PostgreSQL's types, can do it. Random events come through unchanged.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('ingestion');
my $dir  = $node->basedir;

# The event and the measure of the slide, letter by letter.
my $edn = '{:type :usage :entity :vm :action :create :time #inst "2016-12-12T15:48:32.000-00:00" :template "ubuntu-16.04" :source :cloudstack '
  . ':account "geneva-jug" :uuid "7a070a3d-66ff-4658-ab08-fe3cecd7c70f" :version 1 :offering "medium"}';
my $json = '{"type":"usage","entity":"vm","action":"create","time":"2016-12-12T15:48:32.000-00:00","template":"ubuntu-16.04","source":"cloudstack",'
  . '"account":"geneva-jug","uuid":"7a070a3d-66ff-4658-ab08-fe3cecd7c70f","version":1,"offering":"medium"}';
my $canonical = '{"time":"2016-12-12T15:48:32Z","resource":"7a070a3d-66ff-4658-ab08-fe3cecd7c70f","action":"create","account":"geneva-jug","entity":"vm",'
  . '"offering":"medium","source":"cloudstack","template":"ubuntu-16.04","version":1}';

# Protobuf by hand: a program's own bytes, not those of the extension.
sub varint
{
	my ($n) = @_;
	my $bytes = '';
	while ($n >= 128) { $bytes .= chr($n % 128 + 128); $n = int($n / 128) }
	return $bytes . chr($n);
}
sub field_number { my ($field, $n)    = @_; return varint($field * 8) . varint($n) }
sub field_text   { my ($field, $text) = @_; return varint($field * 8 + 2) . varint(length $text) . $text }
sub delimited { my ($message) = @_; return varint(length $message) . $message }

my $event = field_number(1, 1481557712 * 1000000) . field_text(2, '7a070a3d-66ff-4658-ab08-fe3cecd7c70f') . field_text(3, 'create') . field_text(4, 'cloudstack')
  . field_text(6, 'geneva-jug') . field_text(7, 'vm') . field_text(8, 'medium') . field_text(10, '{"version": 1, "template": "ubuntu-16.04"}');
# in another order, with a field of a later version
my $event2 = field_text(10, '{"template":"ubuntu-16.04","version":1}') . field_text(8, 'medium') . field_text(77, 'what?') . field_text(3, 'create')
  . field_text(2, '7a070a3d-66ff-4658-ab08-fe3cecd7c70f') . field_text(4, 'cloudstack') . field_text(6, 'geneva-jug') . field_text(7, 'vm') . field_number(1, 1481557712 * 1000000);
my $measure = field_number(1, 1) . field_number(2, 0xC0000201) . field_number(3, 10485760) . field_number(4, 1481557680) . field_number(5, 1481557740);

# What COPY BINARY wants: a signature, rows of one field, an end.
sub copy_binary { return "PGCOPY\n\377\r\n\0" . pack('NN', 0, 0) . join('', map { pack('nN', 1, length $_) . $_ } @_) . pack('n', 0xffff) }

sub file
{
	my ($name, $bytes) = @_;
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!";
	print $file $bytes;
	close $file;
	return literal("$dir/$name");
}
my $hex   = sub { return "'\\x" . unpack('H*', $_[0]) . "'" };
my $lines = file('lines', "$json\n" . ($edn =~ s/\\/\\\\/gr) . "\n");
my $bin   = file('binary', copy_binary($event, $event2));

# Each path is noted with what came in by it.
my $script = "SELECT FROM meter.create_stream('cloud');\n";
my %paths  = (
	'insert into the inbox, JSON'   => 'INSERT INTO cloud.inbox VALUES (' . literal($json) . ');',
	'insert into the inbox, EDN'    => 'INSERT INTO cloud.inbox VALUES (' . literal($edn) . ');',
	'insert into the inbox, jsonb'  => 'INSERT INTO cloud.inbox VALUES (' . literal($json) . '::jsonb);',
	'copy to the inbox, text'       => "COPY cloud.inbox FROM $lines;",
	'copy to the inbox, binary'     => "COPY cloud.inbox FROM $bin (FORMAT binary);",
	'meter.ingest, JSON and EDN'    => 'SELECT FROM meter.ingest(\'cloud\', ' . literal($json) . ', ' . literal($edn) . ');',
	'meter.ingest, protobuf'        => "SELECT FROM meter.ingest('cloud', meter.event_from_protobuf(" . $hex->($event) . '));',
	'meter.ingest, a stream'        => "SELECT FROM meter.ingest('cloud', VARIADIC ARRAY(SELECT meter.events_from_protobuf_stream(" . $hex->(delimited($event) . delimited($event2)) . ')));',
	'meter.ingest_protobuf'         => "SELECT FROM meter.ingest_protobuf('cloud', " . $hex->(field_text(1, $event) . field_text(1, $event2)) . ');',
	'columns'                       => q{INSERT INTO cloud.event ("time", resource, action, account, entity, offering, source, attributes) VALUES
		('2016-12-12T15:48:32.000-00:00', '7a070a3d-66ff-4658-ab08-fe3cecd7c70f', 'create', 'geneva-jug', 'vm', 'medium', 'cloudstack', '{"template": "ubuntu-16.04", "version": 1}');});
foreach my $path (sort keys %paths)
{
	$script .= "$paths{$path}\nSELECT " . literal($path) . ", count(*), string_agg(DISTINCT (to_jsonb(e) - 'arrival')::text, ' ') FROM cloud.event e;\n"
	  . "SELECT " . literal("$path, out") . ", string_agg(DISTINCT (jsonb_strip_nulls(to_jsonb(e) - 'arrival' - 'attributes') || attributes)::meter.event::text, ' ') FROM cloud.event e;\n"
	  . "DELETE FROM cloud.event;\n";
}
my $in = answers($node, $script);
my $row = '{"id": null, "time": "2016-12-12T15:48:32+00:00", "value": null, "action": "create", "entity": "vm", "source": "cloudstack", "account": "geneva-jug", '
  . '"offering": "medium", "resource": "7a070a3d-66ff-4658-ab08-fe3cecd7c70f", "sequence": null, "attributes": {"version": 1, "template": "ubuntu-16.04"}}';
foreach my $path (sort keys %paths)
{
	my $n = $path =~ /copy|stream|JSON and|ingest_protobuf/ ? 2 : 1;
	is($in->{$path}, "$n\t$row", "in by $path");
	is($in->{"$path, out"}, $canonical, 'and out as JSON');
}

# Out in each format, and in again.
my $value = literal($json) . '::meter.event';
my $out = answers($node, <<"SQL");
CREATE TABLE one AS SELECT $value AS event;
SELECT 'json', event FROM one;
SELECT 'jsonb', (event::jsonb)::meter.event FROM one;
SELECT 'protobuf', meter.event_from_protobuf(meter.event_to_protobuf(event)) FROM one;
SELECT 'bytes', encode(meter.event_to_protobuf(event), 'hex') FROM one;
COPY one TO '$dir/out.binary' (FORMAT binary);
COPY one TO '$dir/out.text';
CREATE TABLE back (LIKE one);
COPY back FROM '$dir/out.binary' (FORMAT binary);
COPY back FROM '$dir/out.text';
SELECT 'copied', string_agg(DISTINCT event::text, ' '), count(*) FROM back;
SQL
is($out->{$_}, $canonical, "out as $_, and in again") foreach ('json', 'jsonb', 'protobuf');
is($out->{copied}, "$canonical\t2", 'copied out and in, as text and binary');
my $sent = field_number(1, 1481557712 * 1000000) . field_text(2, '7a070a3d-66ff-4658-ab08-fe3cecd7c70f') . field_text(3, 'create') . field_text(4, 'cloudstack')
  . field_text(6, 'geneva-jug') . field_text(7, 'vm') . field_text(8, 'medium') . field_text(10, '{"template":"ubuntu-16.04","version":1}');
is($out->{bytes}, unpack('H*', $sent), 'the message is what protobuf says it is');
is(slurp_file("$dir/out.binary"), copy_binary($sent), 'and COPY sends it as it is');
is(slurp_file("$dir/out.text"), "$canonical\n", 'COPY as text sends one line');

# The measure, by its path.
my $protobuf = slurp_file("$FindBin::RealBin/../protobuf.sql");
my $measured = answers($node, $protobuf . 'SELECT \'logged\', meter.ingest_measures(\'cloud\', \'router-1\', ' . $hex->(delimited($measure)) . ");\n" . <<'SQL');
SELECT 'row', to_jsonb(m) - 'arrival' FROM cloud.measure m;
SELECT 'out', encode(pg_temp.delimited(pg_temp.measure(resource, value, start_time, end_time, (attributes ->> 'header')::bigint)), 'hex') FROM cloud.measure;
SQL
is($measured->{logged}, 1, 'the measure is logged');
is($measured->{row}, '{"id": "192.0.2.1/1481557680/1481557740", "value": 10485760, "entity": null, "source": "router-1", "account": null, "end_time": "2016-12-12T15:49:00+00:00", '
	  . '"resource": "192.0.2.1", "attributes": {"header": 1}, "start_time": "2016-12-12T15:48:00+00:00"}', 'as what it is');
is($measured->{out}, unpack('H*', delimited($measure)), 'and goes out as it came');

# A measure goes in by each path that takes measures as values, and comes out the same.
my $said = '{"source":"router-1","id":"7","start_time":"2016-12-12T15:48:00Z","end_time":"2016-12-12T15:49:00Z","resource":"vm-1","account":"geneva-jug","entity":"vm","value":10.50,"direction":"out"}';
my $in_edn = '{:source "router-1" :id "7" :start_time #inst "2016-12-12T15:48:00Z" :end_time #inst "2016-12-12T15:49:00Z" :resource :vm-1 :account :geneva-jug :entity :vm :value 10.50M :direction :out}';
my $cloud = '{"specversion":"1.0","source":"router-1","id":"7","type":"t","subject":"vm-1","time":"2030-01-01T00:00:00Z","data":{"start_time":"2016-12-12T15:48:00Z","end_time":"2016-12-12T15:49:00Z","account":"geneva-jug","entity":"vm","value":"10.5","direction":"out"}}';
my $usage_measure = field_number(1, 1481557680 * 1000000) . field_number(2, 1481557740 * 1000000) . field_text(3, 'vm-1') . field_text(4, 'router-1') . field_text(5, '7') . field_text(6, 'geneva-jug')
  . field_text(7, 'vm') . field_text(8, '10.50') . field_text(9, '{"direction": "out"}');
my %measure_paths = (
	'insert, JSON'      => 'INSERT INTO cloud.measure_inbox VALUES (' . literal($said) . ');',
	'insert, text'      => 'INSERT INTO cloud.measure_inbox VALUES (' . literal($said) . '::text);',
	'insert, jsonb'     => 'INSERT INTO cloud.measure_inbox VALUES (' . literal($said) . '::jsonb);',
	'insert, EDN'       => 'INSERT INTO cloud.measure_inbox VALUES (' . literal($in_edn) . ');',
	'insert, CloudEvent' => 'INSERT INTO cloud.measure_inbox VALUES ((' . literal($cloud) . "::jsonb #- '{type}' || '{\"type\":\"t\"}')::text);",
	'copy, text'        => 'COPY cloud.measure_inbox FROM ' . file('measure_lines', "$said\n\n$in_edn\n") . ';',
	'copy, binary'      => 'COPY cloud.measure_inbox FROM ' . file('measure_binary', copy_binary($usage_measure)) . ' (FORMAT binary);',
	'ingest_json'       => "SELECT FROM meter.ingest_json('cloud', " . literal("[$said, $cloud]") . ', true);',
	'ingest_protobuf'   => "SELECT FROM meter.ingest_protobuf('cloud', " . $hex->(field_text(5, $usage_measure)) . ');',
	'columns'           => q{INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, entity, value, attributes) VALUES
		('router-1', '7', '2016-12-12 15:48Z', '2016-12-12 15:49Z', 'vm-1', 'geneva-jug', 'vm', 10.5, '{"direction": "out"}');});
$script = "DELETE FROM cloud.measure;\n";
foreach my $path (sort keys %measure_paths)
{
	$script .= "$measure_paths{$path}\nSELECT " . literal($path) . ", string_agg(DISTINCT (jsonb_strip_nulls(to_jsonb(m) - 'arrival' - 'attributes') || (attributes - 'ce-type'))::meter.measure::text, ' ') FROM cloud.measure m;\n"
	  . "DELETE FROM cloud.measure;\n";
}
$script .= "SELECT 'sent', encode(meter.measure_to_protobuf(" . literal($said) . "), 'hex');\n";
my $measured_in = answers($node, $script);
is($measured_in->{$_}, '{"start_time":"2016-12-12T15:48:00Z","end_time":"2016-12-12T15:49:00Z","resource":"vm-1","account":"geneva-jug","entity":"vm","value":10.5,"source":"router-1","id":"7","direction":"out"}',
	"a measure in by $_") foreach sort keys %measure_paths;
is($measured_in->{sent}, unpack('H*', $usage_measure =~ s/10\.50/10.5/r =~ s/\x42\x05/\x42\x04/r =~ s/\{"direction": "out"\}/{"direction":"out"}/r =~ s/\x4a\x14/\x4a\x13/r), 'and out as the message');

# A message that is none refuses its COPY, which names it; diverted, it is kept as it came.
my $bad = substr($event, 0, 20);
my $some = file('some', copy_binary($event, $bad, $event2, ''));
my ($code, $stdout, $stderr) = $node->psql('postgres', "COPY cloud.inbox FROM $some (FORMAT binary)");
is($code, 3, 'a bad message refuses its COPY');
like($stderr, qr/DETAIL:  protobuf message UsageEvent: field "resource" is longer than what remains, at byte 10\b.*CONTEXT:  COPY inbox, line 2, column event/s, 'with row, field, byte and reason');
my $diverted = answers($node, <<"SQL");
SELECT 'refused', count(*) FROM cloud.event;
SET meter.on_bad_event = divert;
COPY cloud.inbox FROM $some (FORMAT binary);
SELECT 'taken', count(*) FROM cloud.event;
SELECT 'rejected', string_agg(raw || ' ' || reason, '; ' ORDER BY rejection) FROM cloud.rejected;
DELETE FROM cloud.event;
SQL
is($diverted->{refused}, 0, 'and nothing of it is logged');
is($diverted->{taken}, 2, 'diverted, it leaves the rest alone');
is($diverted->{rejected}, '\x' . unpack('H*', $bad) . ' protobuf message UsageEvent: field "resource" is longer than what remains, at byte 10; '
	  . '\x protobuf message UsageEvent: field "time" is missing, at byte 0', 'and is kept as it came');

# Random events, out and in again as text and as protobuf; METER_EVENTS=1000000 takes a minute and more.
my $seed = seed();
my $many = $ENV{METER_EVENTS} || 100000;
my $trip = answers($node, $protobuf . <<"SQL");
SET client_min_messages = error;
SELECT FROM setseed(${\($seed / 1e9)});
CREATE UNLOGGED TABLE many AS SELECT n, jsonb_strip_nulls(jsonb_build_object('time', '2016-12-12 00:00Z'::timestamptz + (random() * 1e9) * interval '1 ms',
	'resource', CASE n % 3 WHEN 0 THEN md5(n::text)::uuid::text ELSE md5(n::text) END, 'action', chr(1 + (random() * 5000)::integer),
	'account', CASE n % 2 WHEN 0 THEN 'a' || n % 1000 END, 'value', CASE n % 5 WHEN 0 THEN (random() * 1e6)::numeric(20, 6) WHEN 1 THEN -n END,
	'source', CASE n % 7 WHEN 0 THEN repeat(chr(20000 + n % 1000), n % 85) END, 'id', CASE n % 7 WHEN 0 THEN n::text END,
	'x', CASE n % 4 WHEN 0 THEN jsonb_build_object('deep', ARRAY[n, 1], 'text', chr(n % 1000 + 1)) END))::meter.event AS event
	FROM generate_series(1, $many) n;
COPY many TO '$dir/many.binary' (FORMAT binary);
CREATE UNLOGGED TABLE many_back (LIKE many);
COPY many_back FROM '$dir/many.binary' (FORMAT binary);
SELECT 'binary', count(*) FROM many m JOIN many_back b USING (n) WHERE m.event = b.event AND m.event::text = b.event::text;
TRUNCATE many_back;
COPY many TO '$dir/many.text';
COPY many_back FROM '$dir/many.text';
SELECT 'text', count(*) FROM many m JOIN many_back b USING (n) WHERE m.event = b.event;
INSERT INTO cloud.inbox SELECT event FROM many ORDER BY n;
SELECT 'inbox', count(*) FROM (SELECT e.*, row_number() OVER (ORDER BY arrival) AS n FROM cloud.event e) e JOIN many m USING (n)
	WHERE (jsonb_strip_nulls(to_jsonb(e) - 'arrival' - 'n' - 'attributes') || coalesce(attributes, '{}'))::meter.event = m.event;
SELECT 'stream', count(*) FROM (SELECT string_agg(pg_temp.delimited(meter.event_to_protobuf(event)), '' ORDER BY n) AS s FROM many WHERE n <= 100000) x,
	meter.events_from_protobuf_stream(s) WITH ORDINALITY AS t (event, n) JOIN many m USING (n) WHERE m.event = t.event;
SQL
is($trip->{binary}, $many, 'random events come through COPY BINARY');
is($trip->{text}, $many, 'and as text');
is($trip->{inbox}, $many, 'and through the inbox, in order');
is($trip->{stream}, $many < 100000 ? $many : 100000, 'and in streams');

# The producer of demo/, sending all of it twice: billed once.
my $root = "$FindBin::RealBin/../..";
chomp(my $include = `pg_config --includedir`);
system_or_bail('protoc-c', "--proto_path=$root/src/types", "--c_out=$dir", 'usage.proto');
system_or_bail('cc', '-Wall', '-Wextra', '-Werror', "-I$dir", "-I$include", '-o', "$dir/producer", "$root/demo/producer.c", "$dir/usage.pb-c.c", '-lprotobuf-c', '-lpq');
$node->safe_psql('postgres', "SELECT meter.create_stream('demo')");
command_like([ "$dir/producer", $node->connstr('postgres'), 'demo' ], qr/^events: 6\nmeasures: 3$/, 'the producer sends') foreach (1, 2);
my $produced = answers($node, <<'SQL');
SET client_min_messages = error;
SELECT FROM meter.create_meter('demo', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SET meter.now = '2024-03-05 04:00Z';
CALL meter.run('demo');
SELECT 'rows', count(*) FROM demo.event;
SELECT 'minutes', string_agg(resource || ' ' || quantity, ', ' ORDER BY resource) FROM (SELECT resource, sum(quantity) AS quantity FROM demo.usage GROUP BY 1) u;
SELECT 'verify', count(*) FROM meter.verify('demo');
SELECT 'measures', count(*), count(DISTINCT (source, id)), sum(DISTINCT value) FROM demo.measure;
SQL
is($produced->{rows}, 12, 'what was sent twice was logged twice');
is($produced->{minutes}, 'vm-1 60, vm-2 61, vm-3 61', 'and billed once');
is($produced->{verify}, 0, 'verify is empty');
is($produced->{measures}, "6\t3\t62914560", 'measures have their content as their id');
command_fails_like([ "$dir/producer", $node->connstr('postgres'), 'nowhere' ], qr/schema "nowhere" does not exist/, 'the producer says what is wrong');

$node->stop;
done_testing();
