# Promise: whatever a user sets in a session, the bills are the same.
#
# A small world, from create_stream to explain, is lived in a session for each value of every setting that any role may set: each word of an
# enumeration, the other value of a boolean, the ends of a range. Some settings at a time share a session; if its bills differ, each gets one of
# its own. Time-outs may end in an error, but not in another bill.
#
#   METER_SEED=n        the same settings again       METER_SETTINGS=100   all of them, not one in twelve
#   METER_TOGETHER=1    each has a session of its own
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $together = $ENV{METER_TOGETHER} || 24;	# settings that share a session; METER_TOGETHER=1: each has its own

my $node = PostgreSQL::Test::Cluster->new('sessions');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'meter'\nmeter.enabled = off\nfsync = off\ntimezone = 'UTC'\n");
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION meter; CREATE ROLE tenant LOGIN; GRANT CREATE ON DATABASE postgres TO tenant");

# What is not tried: it says who the user is or how the server is spoken to, ends the session, or is set while a transaction lasts; memory that is
# taken at once, and what is tried by itself below.
my %left_out = map { $_ => 1 } qw(role session_authorization is_superuser transaction_isolation transaction_read_only transaction_deferrable
  seed exit_on_error local_preload_libraries temp_buffers default_transaction_read_only restrict_nonsystem_relation_kind client_encoding);

# Values of settings that are texts, and some that no list has.
my %values = (
	DateStyle          => [ 'German', 'SQL, DMY', 'Postgres, YMD' ],
	TimeZone           => [ 'America/Havana', 'Pacific/Apia', '-04:30' ],
	timezone_abbreviations => ['Australia'],
	search_path        => [ 'nonesuch', '' ],
	default_text_search_config => ['pg_catalog.german'],
	extra_float_digits => [ -15, 3 ],
	'meter.batch_rows' => [ 1, 3 ],
	client_encoding    => [ 'LATIN1', 'SQL_ASCII' ],
	work_mem           => [64]);

# The world: late rows, duplicates, a void, a snapshot, measures. Its answers come from tables, read under the defaults.
sub world
{
	my ($stream, @set) = @_;
	my $sets = join('', map { "SET $_->[0] = '$_->[1]';\n" } @set);
	return <<"SQL";
$sets
SELECT FROM meter.create_stream('$stream');
SELECT FROM meter.create_meter('$stream', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering,"NULL"}', clock => 'event', lateness => '0', max_lateness => '20 days');
SELECT FROM meter.create_meter('$stream', 'size', 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', period => '1 day', unit => '7 seconds', increment => '1 hour', timezone => 'Europe/Zurich', clock => 'event', lateness => '0');
SELECT FROM meter.create_meter('$stream', 'calls', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', ends => '{end}', dimensions => '{}', rounding_of => 'run',
	increment => '7 minutes', minimum => '2 days', liveness => '5 hours', clock => 'event', lateness => '0');
SELECT FROM meter.create_meter('$stream', 'fees', 'runs', starts => '{start}', stops => '{stop}', ends => '{end}', dimensions => '{entity}', clock => 'event', lateness => '0');
SELECT FROM meter.create_meter('$stream', 'wraps', 'counter', dimensions => '{zone}', begins => 'start', modulus => 10.25, drops => 'ignore', clock => 'event', lateness => '0');
SELECT meter.create_meter('$stream', a, a, dimensions => '{zone}', clock => 'event', lateness => '0') IS NOT NULL FROM unnest('{sum,unique,counter,latest}'::text[]) a;
INSERT INTO $stream.event (source, id, "time", resource, account, action, offering, value, attributes) VALUES
	('a', '1', '2024-03-30 10:00:00.5Z', E'vm\\\\1', 'acme', 'start', 'it''s', 0.30, '{"NULL": "null"}'), ('a', '2', '2024-03-30 13:20Z', E'vm\\\\1', NULL, 'resize', NULL, 1e-7, NULL),
	('a', '3', '2024-03-30 11:00Z', 'vm 2', NULL, 'start', 's', 123456789.000000001, NULL), ('a', '1', '2024-03-30 10:10Z', E'vm\\\\1', 'other', 'start', 's', 5, NULL),
	('a', '9', '1970-01-01Z', 'vm 2', 'acme', 'start', 's', 1, NULL), ('a', '4', '2024-03-30 15:00Z', 'clock', NULL, 'tick', NULL, NULL, NULL);
INSERT INTO $stream.event (source, id, "time", sequence, resource, account, entity, action) VALUES
	('a', '11', '2024-03-30 10:00Z', 1, 'vm 3', 'acme', 'vm', 'start'), ('a', '12', '2024-03-30 10:00Z', 2, 'vm 3', '', NULL, 'give back'), ('a', '13', '2024-03-30 10:45:30Z', 1, 'vm 3', 'b', 'vm', 'own'),
	('a', '14', '2024-03-30 16:10:07Z', NULL, 'vm 3', NULL, '', 'end'), ('a', '15', '2024-03-30 16:11Z', NULL, 'vm 3', 'a', 'vm', 'start');
INSERT INTO $stream.measure (source, id, start_time, end_time, resource, account, value, attributes)
	SELECT 'm', g, '2024-03-30 10:00Z'::timestamptz + g * interval '25 minutes', '2024-03-30 10:40Z'::timestamptz + g * interval '25 minutes', 'ip', 'acme', 10.50 / g, '{"zone": "1"}' FROM generate_series(1, 9) g;
CALL meter.run('$stream');
SELECT FROM meter.ingest('$stream', '{"source": "a", "id": "5", "time": "2024-03-30T14:30:00Z", "resource": "vm 2", "action": "stop"}'::meter.event);
INSERT INTO $stream.inbox VALUES (E'{"source": "a", "id": "6", "time": "2024-03-30T12:15:30Z", "resource": "vm 2", "account": "b\\\\\\\\c", "action": "resize", "value": 2}'::meter.event);
INSERT INTO $stream.event (source, id, "time", resource, action) VALUES ('a', '2', '2024-03-30 13:20Z', E'vm\\\\1', 'void'), ('a', '7', '2024-03-31 04:00Z', 'clock', 'tick');
INSERT INTO $stream.inventory (source, at, resource, offering, since) VALUES ('a', '2024-03-31 02:00Z', E'vm\\\\1', 'it''s', '2024-03-30 11:30Z');
SELECT FROM meter.reconcile('$stream', 'a', '2024-03-31 02:00Z');
INSERT INTO $stream.measure (source, id, start_time, end_time, resource, account, value) VALUES ('m', '3', '2024-03-30 10:15Z', '2024-03-30 10:20Z', 'ip', 'acme', 3);
CALL meter.run('$stream');
CREATE TEMP TABLE seen AS SELECT (SELECT count(*) FROM meter.verify('$stream')) AS faults, (SELECT sum(quantity) FROM $stream.current_usage) AS current,
	(SELECT count(*) FROM $stream.anomaly) AS odd, (SELECT count(*) || ' ' || sum(e.quantity) FROM $stream.usage u, meter.explain('$stream', u.transaction_id) e) AS explained,
	(SELECT string_agg(p.usage_rows::text, ' ') FROM meter.preview_meter('$stream', 'vm', starts => '{start}', stops => '{stop}', clock => 'event') p) AS preview;
RESET ALL;
SELECT md5(string_agg(ROW(meter, account, resource, dimensions::text, extract(epoch FROM period_start), quantity, scale(quantity))::text, ',' ORDER BY meter COLLATE "C", period_start, resource COLLATE "C",
	account COLLATE "C", dimensions)) || ' ' || count(*) || ' ' || sum(quantity) FROM (SELECT meter, account, resource, dimensions, period_start, trim_scale(sum(quantity)) AS quantity FROM $stream.usage GROUP BY 1, 2, 3, 4, 5) u;
SELECT count(*) FILTER (WHERE scale(quantity) <> min_scale(quantity)) FROM $stream.usage;
SELECT count(*) FROM $stream.held;
SELECT faults, trim_scale(current), odd, preview FROM seen;
SELECT explained FROM seen;
SQL
}

# The answers of the world with these settings, or the error; the explained parts are as many as rows, and so as many as steps made.
my $worlds = 0;

sub live
{
	my (@set) = @_;
	my $stream = 'world' . ++$worlds;
	my $stepwise = grep { $_->[0] eq 'meter.batch_rows' } @set;
	my ($stdout, $stderr);
	$node->psql('postgres', "SET client_min_messages = warning;\n" . world($stream, @set), extra_params => [ '-U', 'tenant' ], stdout => \$stdout, stderr => \$stderr);
	my ($error) = $stderr =~ /^psql:.*?ERROR:\s+(.*)$/m;
	# what an error left undone is settled under the defaults: it is the same
	$node->psql('postgres', "SET client_min_messages = error; SELECT meter.drop_stream('$stream', true)", extra_params => [ '-U', 'tenant' ]);
	return "error: $error" if defined $error;
	$stdout =~ s/\n[^\n]*$// if $stepwise;
	return $stdout;
}

my $right = live();
unlike($right, qr/error/, 'the world is lived under the defaults') or BAIL_OUT($right);
my ($right_stepwise) = $right =~ /^(.*)\n[^\n]*$/s;
like($right, qr/^0\|/m, 'and verify is empty');
note($right);

# Settings that may end in an error.
my %may_fail = map { $_ => 1 } qw(statement_timeout lock_timeout transaction_timeout idle_in_transaction_session_timeout idle_session_timeout);

my @tried;
foreach (split /\n/, $node->safe_psql('postgres', q{SELECT name, vartype, setting, coalesce(min_val, ''), coalesce(max_val, ''), array_to_string(coalesce(enumvals, '{}'), ',')
	FROM pg_settings WHERE context = 'user' ORDER BY name COLLATE "C"}))
{
	my ($name, $type, $now, $min, $max, $words) = split /\|/, $_, 6;
	next if $left_out{$name} && !$values{$name};
	my @values = $values{$name} ? @{ $values{$name} }
	  : $type eq 'bool' ? ($now eq 'on' ? 'off' : 'on')
	  : $type eq 'enum' ? grep { $_ ne $now } split(/,/, $words)
	  : $type eq 'integer' || $type eq 'real' ? grep { $_ ne $now } ($min, $max)
	  : ();
	push @tried, map { [ $name, $_ ] } @values;
}
cmp_ok(scalar @tried, '>', 100, 'settings to try: ' . @tried);

# Those that are named above, and a part of the others, another one with each seed; those that may fail are tried by themselves.
@tried = grep { $values{ $_->[0] } || rand(100) < ($ENV{METER_SETTINGS} || 8) } @tried;
my @alone = grep { $may_fail{ $_->[0] } } @tried;
@tried = grep { !$may_fail{ $_->[0] } } @tried;

# Settings of one name are not in one session.
my @groups = map { [] } 1 .. int(@tried / $together) + 1;
my $next = 0;
push @{ $groups[ $next++ % @groups ] }, $_ foreach @tried;

sub name { return join(', ', map { "$_->[0] = $_->[1]" } @_); }

sub same
{
	my (@set) = @_;
	return (grep { $_->[0] eq 'meter.batch_rows' } @set) ? $right_stepwise : $right;
}

foreach my $group ((grep { @$_ } @groups), map { [$_] } @alone)
{
	my $got = live(@$group);
	if ($got eq same(@$group))
	{
		pass(name(@$group));
		next;
	}
	foreach my $one (@$group)
	{
		$got = live($one);
		next if $may_fail{ $one->[0] } && $got =~ /^error/;
		is($got, same($one), name($one));
	}
}

# Time-outs that strike end in an error or not at all.
foreach my $timeout ([ 'statement_timeout', 1 ], [ 'statement_timeout', 20 ], [ 'lock_timeout', 1 ])
{
	my $got = live($timeout);
	ok($got =~ /^error/ || $got eq $right, name($timeout)) or diag($got);
}

# Who says that nothing is to be written is told that something would be; no bill is other.
like(live([ 'default_transaction_read_only', 'on' ]), qr/^error: cannot execute .* in a read-only transaction/, 'default_transaction_read_only = on');

# Defaults of a role and of a database are those of its sessions.
$node->safe_psql('postgres', "ALTER ROLE tenant SET default_transaction_isolation = 'serializable'; ALTER DATABASE postgres SET quote_all_identifiers = on");
is(live(), $right, 'defaults of a role and of the database');

$node->stop;
done_testing();
