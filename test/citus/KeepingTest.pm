# KeepingTest: the streams of the tests of what keeps a stream, in the cluster's database and alone: their rows, and what is compared of them.
package KeepingTest;

use strict;
use warnings;
use Exporter 'import';
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use Test::More;

our @EXPORT = qw(start @meters same_error create_streams load_rows load_snapshot %columns same_tables settle set_memory reconcile);

my ($coordinator, @workers);

sub start
{
	return ($coordinator, @workers) = start_cluster(@_);
}

# The errors of a script in both databases, without what says where they were raised.
sub same_error
{
	my ($script, $pattern, $name) = @_;
	my @errors = map {
		my ($stdout, $stderr);
		$coordinator->psql($_, quietly($script), stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
		$stderr =~ s/^psql:<stdin>:\d+: //mg;
		$stderr =~ s/^CONTEXT: .*//msg;
		$stderr
	} qw(cluster alone);
	like($errors[1], $pattern, $name);
	is($errors[0], $errors[1], "$name: the same error");
	return;
}

our @meters = (
	"'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', since => '2024-03-05 00:00Z', period => '3 hours', max_lateness => '5 days'",
	"'size', aggregate => 'weighted', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', period => '6 hours', lateness => '1 hour', max_lateness => '5 days'",
	"'alive', starts => '{start}', stops => '{stop}', changes => '{resize}', liveness => '2 hours', period => '1 day', dimensions => '{flavor}', max_lateness => '5 days'",
	"'bytes', aggregate => 'sum', dimensions => '{zone}', period => '6 hours', max_lateness => '5 days'",
	"'counter', aggregate => 'counter', dimensions => '{zone}', period => '1 day', max_lateness => '5 days'");

# $n events and measures from number $from on, within 36 hours of an instant.
sub load_rows
{
	my ($from, $n, $time) = @_;
	my $at = "'$time'::timestamptz + ((hashint4(i) & 65535) * 2) * interval '1 s'";
	both(<<"SQL");
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action, offering, value)
SELECT CASE i % 5 WHEN 0 THEN 'hall2' ELSE 'hall1' END, 'e' || i, $at, 'vm' || i % 60, 'account' || (i % 60) % 7, CASE i % 3 WHEN 0 THEN 'vm' END,
	(ARRAY['start', 'stop', 'start', 'resize'])[1 + i % 4], (ARRAY['small', 'large'])[1 + (i / 3) % 2], i % 13 FROM generate_series($from, $from + $n - 1) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, value, attributes)
SELECT 's', 'm' || i, $at, $at + (i % 5000) * interval '1 s', 'vm' || i % 40, i % 1000, jsonb_build_object('zone', 'z' || i % 3) FROM generate_series($from, $from + $n - 1) i;
SQL
	return;
}

# A snapshot of a source: some of what runs, some of what does not, and what nobody knows.
sub load_snapshot
{
	my ($source, $at, $part) = @_;
	both(<<"SQL");
INSERT INTO cloud.inventory (source, at, resource, account, entity, offering, value, since, attributes)
SELECT '$source', '$at', 'vm' || i, 'account' || (i + $part / 2) % 7, CASE i % 4 WHEN 0 THEN 'vm' END, (ARRAY['small', 'large', NULL])[1 + i % 3], i % 5,
	CASE i % 6 WHEN 0 THEN '$at'::timestamptz - (i % 100) * interval '20 min' END, CASE i % 8 WHEN 0 THEN '{"zone": null, "rack": 7}'::jsonb END
	FROM generate_series(0, 69) i WHERE i % 3 <> $part % 3 AND i % 7 <> $part % 7;
INSERT INTO cloud.inventory (source, at, resource, account, meter) SELECT '$source', '$at', 'vm' || i, 'account1', 'vm' FROM generate_series(72, 80) i;
SQL
	return;
}

our %columns = (
	usage => 'transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement',
	account_usage => 'meter, account, dimensions, period_start, quantity, dimensions_key',
	event => 'arrival, source, id, "time", resource, account, entity, action, offering, value, attributes',
	inventory => 'source, at, resource, account, entity, offering, value, since, meter, attributes',
	snapshot => 'source, at, rows, content, tolerance, running, starts, stops, changes, pruned',
	_compared => 'meter, source, at',
	settlement => 'meter, settlement, watermark, position, usage_rows, detached_rows, first_transaction_id, last_transaction_id',
	held => 'meter, log, arrival, "time", reason',
	quarantine => 'meter, resource, since, sqlstate, message',
	_retention => 'meter, log, "time", definition',
	_retention_reading => 'meter, hash, resource, series, dimensions, "time", value, start_time',
	_expired => 'log, segment, rows, first_arrival, last_arrival, least_time, greatest_time',
	_detached => 'month, month_end, rows');
$columns{$_} = 'meter, hash, resource, active, account, dimensions, value, since, alive, absent, source, started, holder, changed, ended, sign, gaps, billed, owners'
  foreach qw(_resource_state _retention_state);

# The number of rows of a table and a hash of them; each table of a stream that says something.
sub same_tables
{
	my ($what, @tables) = @_;
	my $query = join(' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(concat_ws('|', $columns{$_}), ';' ORDER BY concat_ws('|', $columns{$_}) COLLATE \"C\")) FROM cloud.$_" } @tables);
	return same("SET timezone = 'UTC'; $query ORDER BY 1", "$what: " . join(', ', @tables));
}

sub same_progress
{
	my ($what) = @_;
	same("SELECT name, watermark, settlement, running, states, failures, last_error FROM meter.meter WHERE stream = 'cloud' ORDER BY 1", "$what: progress");
	return;
}

# What is asked has the same answers; not compared is what names arrivals, which failures move.
sub same_answers
{
	my ($now, $what) = @_;
	my $rows = sub { "count(*), md5(string_agg(concat_ws('|', $_[0]), ';' ORDER BY concat_ws('|', $_[0]) COLLATE \"C\"))" };
	same("SET timezone = 'UTC'; SET meter.now = '$now'; SELECT " . $rows->('u.*') . ' FROM cloud.current_usage u', "$what: live usage");
	same("SET timezone = 'UTC'; SET meter.now = '$now'; SELECT " . $rows->('class, meter, resource, "time"') . ' FROM cloud.anomaly', "$what: anomalies");
	foreach my $meter ('vm', 'counter')
	{
		my $id = sql("SELECT max(transaction_id::text) FROM cloud.usage WHERE meter = '$meter'");
		same("SELECT part, \"time\", until, account, quantity FROM meter.explain('cloud', '$id')", "$what: a row of $meter is explained") unless $id eq '';
	}
	return;
}

# Settles all that is due at an instant, and compares everything.
sub settle
{
	my ($now, $what) = @_;
	both("SET meter.now = '$now'; CALL meter.run('cloud')");
	same_progress($what);
	same_tables($what, sort keys %columns);
	same_answers($now, $what);
	is(sql("SET meter.now = '$now'; SELECT count(*) FROM meter.verify('cloud')"), '0', "$what: verify is empty");
	return;
}

# Sets how much memory a resource may take, on all nodes; undef: as much as by default.
sub set_memory
{
	my ($size) = @_;
	foreach my $node ($coordinator, @workers)
	{
		$node->safe_psql('postgres', defined $size ? "ALTER SYSTEM SET meter.resource_memory = '$size'" : 'ALTER SYSTEM RESET meter.resource_memory');
		$node->reload;
	}
	return;
}

# Reconciles a snapshot in both databases. The corrections are the same, in the same order.
sub reconcile
{
	my ($source, $at, $now, $more) = @_;
	my $what = "snapshot of $source at $at" . ($more // '');
	my $call = "meter.reconcile('cloud', '$source', '$at', max_stops => 1000" . ($more // '') . ')';
	my $corrections = same("SET meter.now = '$now'; SELECT * FROM $call", "$what: corrections");
	same_tables($what, 'event', 'snapshot', '_compared');
	return scalar(split /\n/, $corrections);
}

# Makes the stream in both databases.
sub create_streams
{
	both("SELECT meter.create_stream('cloud'); " . join('', map { "SELECT meter.create_meter('cloud', $_);\n" } @meters));
	return;
}

1;
