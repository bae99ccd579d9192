# Promise: the binary form of a timeline reads back the same, in any client encoding; bytes that are none are refused with
# position and reason.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('timeline_binary');
my $dir  = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $dir;

# COPY BINARY: a signature, flags, an extension's length; a row has the number of its fields, each a length and its bytes.
sub copy_in
{
	my ($name, $bytes) = @_;
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!";
	print $file "PGCOPY\n\377\r\n\0", pack('N2', 0, 0), pack('n N/a*', 1, $bytes), pack('n', 0xffff);
	close $file;
	$node->psql('postgres', "\\copy line FROM '$dir/$name' (FORMAT binary)", stderr => \my $stderr);
	return $stderr;
}

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE line (line meter.timeline);
CREATE TABLE sent AS SELECT i, meter.timeline('2024-03-05Z'::timestamptz + (i * 7 + n * n) * interval '1.5 minutes', n % 3 < 2, (ARRAY['gro' || U&'\00DF', 'small', '', NULL])[1 + (n + i) % 4],
	(ARRAY[1.50, -2, NULL])[1 + n % 3]) AS line FROM generate_series(1, 50) i, generate_series(1, i) n GROUP BY i;
INSERT INTO sent VALUES (0, '{}'), (-1, '{(,)}'), (-2, '{(,2024-03-05T11:00:00Z)}');
SQL
foreach my $encoding ('UTF8', 'LATIN1')
{
	$node->safe_psql('postgres', "SET client_encoding = '$encoding';\n\\copy (SELECT line FROM sent) TO '$dir/sent' (FORMAT binary)\n"
		  . "TRUNCATE line;\n\\copy line FROM '$dir/sent' (FORMAT binary)");
	is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM line), (SELECT count(*) FROM (SELECT line FROM sent EXCEPT SELECT line FROM line) d)'),
		'53|0', "what was sent comes back ($encoding)");
}

foreach my $case (
	[ 'nothing',           '',                              qr/The value is too short, at byte 0/ ],
	[ 'another version',   "\x02\x00\x01\x00",              qr/The value has an unknown format version, at byte 1/ ],
	[ 'unknown flags',     "\x01\x80\x01\x00",              qr/The value has unknown flags, at byte 2/ ],
	[ 'two labels a span', "\x01\x00\x02\x00",              qr/The value has not one label a span, at byte 4/ ],
	[ 'cut short',         "\x01\x18\x01\x02\x02",          qr/at byte \d+/ ],
	[ 'too many spans',    "\x01\x18\x01\xff\xff\x03\x02",  qr/The value counts more than there is, at byte 6/ ],
	[ 'an empty span',     "\x01\x18\x01\x01\x02\x00",      qr/The value has a span that is empty, at byte 6/ ],
	[ 'two that are one',  "\x01\x18\x01\x02\x02\x01\x00\x01", qr/The value has two spans that should be one, at byte 8/ ],
	[ 'a number too long', "\x01\x18\x01\x01\x02\x81\x00",  qr/The value holds a malformed number, at byte 7/ ],
	[ 'far away',          "\x01\x00\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", qr/The value has a span that is out of range, at byte 14/ ],
	[ 'trailing bytes',    "\x01\x18\x01\x01\x02\x01\x00",  qr/The value goes on after its end, at byte 6/ ],
	[ 'open without last', "\x01\x19\x01\x01\x02",          qr/The value is open without a last event, at byte 5/ ],
	[ 'a zero byte',       "\x01\x1c\x01\x01\x02\x00\x00\x01\x00\x00\x01\x02\x01", qr/The value has a label with a zero byte, at byte 13/ ],
	[ 'a value that is no number', "\x01\x1c\x01\x01\x02a\x01\x021\x00", qr/at byte \d+/ ])
{
	my ($name, $bytes, $reason) = @$case;
	my $stderr = copy_in('bad', $bytes);
	like($stderr, qr/invalid binary form of type meter.timeline/, "$name: refused");
	like($stderr, $reason, "$name: with position and reason");
}

# a label that is no text in the database's encoding
like(copy_in('bad', "\x01\x1c\x01\x01\x02\xff\x00\x01\x00\x00\x01\x02\x01"), qr/invalid byte sequence for encoding "UTF8"/, 'a label is checked');

# what is right but not in the shortest form is stored like all others
$node->safe_psql('postgres', 'TRUNCATE line');
is(copy_in('long', "\x01\x10\x01\x01\x78\x3c"), '', 'a scale of seconds where minutes would do');
is($node->safe_psql('postgres', q{SELECT line, line = '{[2000-01-01T00:01:00Z,2000-01-01T00:02:00Z)}' FROM line}),
	'{[2000-01-01T00:01:00Z,2000-01-01T00:02:00Z)}|t', 'equal to the same in its shortest');

# whatever the bytes, the server lives
my $seed = seed();
my $crashes = 0;
foreach my $i (1 .. 90)
{
	my $bytes = $node->safe_psql('postgres', "SELECT encode(meter_internal.timeline_send(line), 'hex') FROM sent WHERE i = " . ($i % 50 + 1)) if $i % 30 == 1;
	our $sound = pack('H*', $bytes) if defined $bytes;
	my $damaged = $sound;
	substr($damaged, int(rand(length $damaged)), 1) = chr(int(rand(256))) foreach 0 .. int(rand(3));
	copy_in('damaged', $damaged);
	last if $i % 30 == 0 && ($crashes += $node->psql('postgres', 'SELECT 1') != 0);
}
is($crashes, 0, 'the server lives');
is($node->safe_psql('postgres', 'SELECT count(*) FROM line WHERE line::text::meter.timeline <> line'), '0', 'what got in is sound');

$node->stop;
done_testing();
