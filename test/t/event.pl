# Promise: random events and measures say the same as JSON, EDN, jsonb and protobuf, and what plain SQL says of them; in a server of another encoding
# texts come out as they went in, and what it cannot show is refused.
#
# The work of the first part is in test/event_property.sql.
#
#   METER_SEED=n        the same events again
#   METER_EVENTS=n      this many events instead of 5,000
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use Encode qw(encode);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed   = seed();
my $events = $ENV{METER_EVENTS} || 5_000;
my $node   = start_server('event');

$node->psql('postgres', undef,
	extra_params => [ '-q', '-v', sprintf('seed=%.9f', ($seed % 1_000_000_007) / 1_000_000_007), '-v', "events=$events",
		'-f', "$FindBin::RealBin/../event_property.sql" ],
	stdout => \my $stdout, stderr => \my $stderr, on_error_stop => 1, timeout => 3600);
is($stderr, '', 'no errors');
my $checks = 0;
foreach my $line (split /\n/, $stdout)
{
	my ($what, $differences) = split /\t/, $line;
	next unless defined $differences;
	$checks++;
	is($differences, 0, $what);
}
is($checks, 22, 'all was checked');

# A server of another encoding: its own characters as they are and as escapes, in fields, attributes and labels.
foreach my $database ([ 'latin', 'LATIN1' ], [ 'ascii', 'SQL_ASCII' ], [ 'euc', 'EUC_JP' ])
{
	my ($name, $encoding) = @$database;
	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql($name, 'CREATE EXTENSION meter');
}
sub ask
{
	my ($database, $sql) = @_;
	my $status = $node->psql($database, "SET client_encoding = 'UTF8'; " . encode('UTF-8', $sql), stdout => \my $out, stderr => \my $err);
	return $out . $err;
}
my $event = '{"time":"2024-03-05T10:00:00Z","resource":"größe","action":"a","offering":"\u00e9té","ö":"\u00fc"}';
my $text  = encode('UTF-8', '{"time":"2024-03-05T10:00:00Z","resource":"größe","action":"a","offering":"été","ö":"ü"}');
foreach my $database ('latin', 'ascii')
{
	is(ask($database, "SELECT '$event'::meter.event"), $text, "$database: as it went in");
	is(ask($database, "SELECT '$event'::meter.event::text::meter.event = '$event'"), 't', "$database: and back");
	is(ask($database, "SELECT '$event'::meter.event::text::meter.event::jsonb::meter.event = '$event'"), 't', "$database: through jsonb")
	  if $database eq 'latin';    # SQL_ASCII has no escapes in jsonb beyond ASCII
	is(ask($database, "SELECT e ->> 'resource', e ->> 'ö', length(e ->> 'ö'), meter.timeline(e, '{a}', '{}') FROM (SELECT '$event'::meter.event AS e) x GROUP BY e"),
		encode('UTF-8', 'größe|ü|') . ($database eq 'latin' ? 1 : 2) . encode('UTF-8', '|{[2024-03-05T10:00:00Z,) "été" @2024-03-05T10:00:00Z}'), "$database: its texts");
}
like(ask('latin', q{SELECT '{"time":"2024-03-05T10:00:00Z","resource":"ö\u20ac","action":"a"}'::meter.event}), qr/It has a character that is not in the encoding "LATIN1" of this database/,
	'a character that LATIN1 has not is refused');
is(ask('latin', q{SET meter.on_bad_event = 'divert'; SELECT '{"time":"2024-03-05T10:00:00Z","resource":"ö\u20ac","action":"a"}'::meter.event}),
	encode('UTF-8', '{"time":"2024-03-05T10:00:00Z","resource":"ö\u20ac","action":"a"}'), 'or diverted');
like(ask('latin', q{SELECT '{"time":"2024-03-05T10:00:00Z","ö":"öä",}'::meter.event}), qr/At character 41: expected a key/, 'positions count characters');
is(ask('euc', q{SELECT '{"time":"2024-03-05T10:00:00Z","resource":"東\u4eac","action":"a"}'::meter.event}),
	encode('UTF-8', '{"time":"2024-03-05T10:00:00Z","resource":"東京","action":"a"}'), 'an encoding of many bytes');
like(ask('ascii', q{SELECT (E'{"time":"2024-03-05T10:00:00Z","resource":"\xe9","action":"a"}')::meter.event}), qr/the byte 0xe9 is not UTF-8/, 'bytes that are not UTF-8 are refused');

# Where errors can be soft, those of this type are.
if ($node->safe_psql('postgres', "SELECT current_setting('server_version_num')::int >= 160000") eq 't')
{
	is($node->safe_psql('postgres', "SELECT pg_input_is_valid('{}', 'meter.event'), pg_input_is_valid('$event', 'meter.event')"), 'f|t', 'soft errors');
}

$node->stop;
done_testing();
