# Promise: whoever asks about a distributed stream gets the rows that the same stream on one node has: live usage, explanations, anomalies, previews, by
# all arguments, for all kinds of meters, whoever may ask. A question about one resource is put to the one shard that has it; no row of a log or of the
# ledger comes to the coordinator but as part of an answer. An answer is of one instant, whatever is settled meanwhile.
#
#   METER_CITUS_SEED=n     what the rows are made of; printed
#   METER_CITUS_ROWS=n     events and as many measures, 800 by default
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use CitusTest;
use PostgreSQL::Test::Utils;
use Test::More;

citus_or_skip();
my $rows = $ENV{METER_CITUS_ROWS} || 800;
my $seed = $ENV{METER_CITUS_SEED} // int(rand(1_000_000));
note("METER_CITUS_SEED=$seed");
srand($seed);
my ($coordinator, @workers) = start_cluster('asking', 'log_statement = all', "meter.resource_memory = '64kB'");

my @meters = (
	"'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', since => '2024-03-05 00:00Z'",
	"'daily', clock => 'event', starts => '{start}', stops => '{stop}', changes => '{resize}', period => '1 day', timezone => 'Europe/Berlin'",
	"'weighted', aggregate => 'weighted', value_from => 'size', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '1 hour'",
	"'runs', aggregate => 'runs', starts => '{start,resume}', stops => '{stop}', ends => '{delete}'",
	"'alive', starts => '{start}', stops => '{stop}', changes => '{resize}', liveness => '2 hours', rounding_of => 'run', minimum => '10 minutes'",
	"'sourced', clock => 'source', starts => '{start}', stops => '{stop}', entity => 'disk'",
	"'flavors', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{flavor}'",
	"'until', starts => '{start}', stops => '{stop}', until => '2024-03-06 00:00Z'",
	"'bytes', aggregate => 'sum', dimensions => '{zone}'",
	"'number', aggregate => 'count', entity => 'port'",
	"'counter', aggregate => 'counter', dimensions => '{zone}', period => '1 day'",
	"'ignores', aggregate => 'counter', drops => 'ignore', modulus => 900",
	"'peak', aggregate => 'max', dimensions => '{}'",
	"'low', aggregate => 'min', dimensions => '{zone}'",
	"'last', aggregate => 'latest'",
	"'kinds', aggregate => 'unique', value_from => 'kind', dimensions => '{}'");
my @names = map { /^'(\w+)'/ } @meters;

# $n events and as many measures from number $from on, within 36 hours of an instant.
sub load_rows
{
	my ($from, $n, $time) = @_;
	my $at = "'$time'::timestamptz + ((hashint4(i # $seed) & 65535) * 2) * interval '1 s'";
	both(<<"SQL");
INSERT INTO cloud.event (source, id, "time", resource, account, entity, action, offering, value, attributes)
SELECT 's' || i % 3, 'e' || i, $at, 'vm' || h % 70, CASE WHEN h % 11 < 9 THEN 'account' || (h % 70) % 7 END, CASE i % 4 WHEN 0 THEN 'disk' END,
	(ARRAY['start', 'stop', 'start', 'resize', 'stop', 'start', 'resize', 'resume', 'delete', 'reboot'])[1 + h % (CASE i % 20 WHEN 0 THEN 10 ELSE 7 END)],
	(ARRAY['small', 'large'])[1 + (i / 3) % 2], i % 13, jsonb_build_object('size', CASE i % 50 WHEN 0 THEN '"big"' ELSE (i % 9)::text END::jsonb)
FROM (SELECT i, abs(hashint4(i # $seed + 1)) AS h FROM generate_series($from, $from + $n - 1) i) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, entity, value, attributes)
SELECT 's' || i % 3, 'm' || i, $at, $at + (i % 5000) * interval '1 s', 'vm' || h % 90, CASE h % 10 WHEN 0 THEN 'account' || h % 7 END, CASE i % 3 WHEN 0 THEN 'port' END,
	h % 1000, jsonb_build_object('zone', 'z' || i % 3, 'kind', 'k' || i % 9)
FROM (SELECT i, abs(hashint4(i # $seed + 2)) AS h FROM generate_series($from, $from + $n - 1) i) i;
SQL
	return;
}

# What is odd.
sub load_odd_rows
{
	both(<<'SQL');
INSERT INTO cloud.event (source, id, "time", resource, account, action) VALUES
	('s', 'old1', '2023-02-01 10:00Z', 'vm7', 'account1', 'start'), ('s', 'old2', '2023-02-01 11:00Z', 'vm8', 'account1', 'stop'), ('s', 'old3', '2023-02-01 09:00Z', 'vm9', 'account1', 'start'),
	('s', 'soon', '2024-04-01 10:00Z', 'vm7', 'account1', 'start'), ('s', 'none', '2024-03-05 10:00Z', 'vm9', NULL, 'void'), ('s', NULL, '2024-03-05 10:00Z', 'vm9', NULL, 'void'),
	('s', 'same', '2024-03-05 10:00Z', 'vm9', 'account2', 'start'), ('s', 'same', '2024-03-05 10:30Z', 'vm9', 'account2', 'resume'),
	('s', 'twice', '2024-03-05 10:00Z', 'vm10', 'account3', 'start'), ('s', 'twice', '2024-03-05 10:00Z', 'vm10', 'account4', 'start'),
	('s', 'odd', '2024-03-05 10:00Z', 'vm10', NULL, 're"boot 100%'), ('s', 'odd', '2024-03-05 10:00Z', 'vm11', NULL, 're"boot 100%'),
	('s', 'end1', '2024-03-05 09:00Z', 'ended', 'account3', 'start'), ('s', 'end2', '2024-03-05 10:00Z', 'ended', NULL, 'delete'), ('s', 'end3', '2024-03-05 11:00Z', 'ended', NULL, 'start'),
	('s', 'nobody', '2024-03-05 09:00Z', 'nobody''s', NULL, 'start');
INSERT INTO cloud.event (source, id, "time", resource, account, action, attributes)
SELECT 's', 'fat' || i, '2024-03-05 10:00Z'::timestamptz + i * interval '1 min', 'fat', 'account1', CASE i WHEN 0 THEN 'start' ELSE 'resize' END, jsonb_build_object('flavor', repeat('fat' || i, 8000))
FROM generate_series(0, 4) i;
INSERT INTO cloud.measure (source, id, start_time, end_time, resource, account, value, attributes) VALUES
	('s', 'm', '2024-03-05 10:00Z', '2024-03-05 11:00Z', 'vm10', NULL, 7, NULL), ('s', 'm', '2024-03-05 10:00Z', '2024-03-05 11:00Z', 'vm10', NULL, 8, NULL),
	('s', 'mold', '2023-02-01 10:00Z', '2023-02-01 11:00Z', 'vm11', 'account1', 7, NULL), ('s', 'msoon', '2024-04-01 10:00Z', '2024-04-01 11:00Z', 'vm11', 'account1', 7, NULL);
SQL
	return;
}

my ($compared, $returned) = (0, 0);

# Passes if all scripts return the same in both databases, but for when something was recorded; and all of them together something.
sub all_same
{
	my ($now, $name, @scripts) = @_;
	my (@got, $lines);
	foreach my $database ('cluster', 'alone')
	{
		my $script = join("\n", map { "\\echo -- $_\n$_;" } @scripts);
		my $got = $coordinator->safe_psql($database, quietly("SET meter.now = '$now';\n$script"));
		$got =~ s/(held since|recorded at) [-\d]+ [:.\d]+\+00/$1 then/g;
		push @got, $got;
	}
	my @lines = split /\n/, $got[1];
	$returned += my $found = @lines - @scripts;
	$compared += @scripts;
	if ($got[0] eq $got[1])
	{
		cmp_ok($found, '>', 0, "$name: " . @scripts . " questions, $found rows");
		return;
	}
	my @cluster = split /\n/, $got[0];
	my ($at) = grep { ($cluster[$_] // '') ne ($lines[$_] // '') } 0 .. $#lines + 1;
	my ($question) = grep { /^-- / } reverse @lines[ 0 .. ($at > $#lines ? $#lines : $at) ];
	fail($name);
	diag("$question\n  cluster: " . ($cluster[$at] // '') . "\n  alone:   " . ($lines[$at] // ''));
	return;
}

sub sorted { return "SELECT * FROM $_[0] x ORDER BY x::text"; }

sub pick { my ($n, @from) = @_; return map { $from[ rand @from ] } 1 .. $n; }

my @resources = ((map { "vm$_" } 0 .. 89), "nobody''s", 'fat', 'ended', 'unheard of');
my @accounts = ((map { "account$_" } 0 .. 6), '', 'unheard of');

# Asks in each way, by some of what can be asked for, as of an instant.
sub ask
{
	my ($now, $what) = @_;
	all_same($now, "$what: live usage", map { sorted($_) } "meter.live_usage('cloud')", 'cloud.current_usage', "(SELECT * FROM cloud.current_usage WHERE resource = 'vm7')",
		(map { "meter.live_usage('cloud', '$_')" } pick(3, @accounts)), (map { "meter.live_usage('cloud', resource => '$_')" } pick(3, @resources), 'fat', "nobody''s"),
		(map { "meter.live_usage('cloud', '" . (pick(1, @accounts))[0] . "', '$_')" } pick(3, @resources)), "meter.live_usage('cloud', 'account1', 'fat')");
	all_same($now, "$what: anomalies", map { sorted($_) } 'cloud.anomaly', (map { "meter.anomalies('cloud', '$_')" } pick(5, classes())), (map { "meter.anomalies('cloud', meter => '$_')" } pick(2, @names)),
		(map { "meter.anomalies('cloud', resource => '$_')" } pick(2, @resources), qw(vm7 fat)), "meter.anomalies('cloud', during => '[2024-03-05 10:00Z, 2024-03-05 12:00Z)')",
		"meter.anomalies('cloud', 'orphan stop', 'vm', 'vm" . int(rand(70)) . "', '[2024-03-05 10:00Z,)')", "meter.anomalies('cloud', 'not counted', resource => 'vm10', during => '(,2024-03-05 12:00Z)')");
	all_same($now, "$what: the order of anomalies", 'SELECT class, count(*) FROM (SELECT class, row_number() OVER () - row_number() OVER (PARTITION BY class) AS i FROM cloud.anomaly) x '
		  . "WHERE class IN ('quarantined', 'too late', 'in the future') GROUP BY class, i ORDER BY i", "SELECT resource, arrival FROM meter.anomalies('cloud', 'too late', 'vm')");
	my @ids = map {
		split /\n/, $coordinator->safe_psql('alone', "SELECT transaction_id FROM (SELECT transaction_id, row_number() OVER (PARTITION BY revision > 0 ORDER BY hashtext(transaction_id::text || '$seed')) AS i "
			  . "FROM cloud.usage WHERE meter = '$_') x WHERE i <= 2")
	} pick(5, @names);
	all_same($now, "$what: explanations", map { "SELECT * FROM meter.explain('cloud', '$_')" } @ids) if @ids;
	return;
}

# The classes of anomalies that there can be.
sub classes
{
	return 'quarantined', 'too late', 'in the future', 'conflicting duplicate', 'void of nothing', 'not counted', 'reconciled', 'duplicate start', 'orphan stop', 'after its end',
	  'silent', 'unknown account', 'not a number', 'same name, other action', 'counter drop', 'passed over', 'opened by another source', 'since too early';
}

sub advance
{
	my ($now) = @_;
	both("SET meter.now = '$now'; CALL meter.run('cloud')");
	same("SELECT name, watermark, failures FROM meter.meter WHERE stream = 'cloud' ORDER BY 1", "settled at $now");
	return;
}

# --- a stream with nothing ---

both("SELECT meter.create_stream('cloud')");
sql("SELECT meter.distribute_stream('cloud', 6)");
my @previews = map {
	my ($name, $rest) = /^'(\w+)', (.*)/;
	my $since = $rest =~ /Berlin/ ? '2024-03-04 23:00Z' : $rest =~ /1 day/ ? '2024-03-05 00:00Z' : '2024-03-05 10:00Z';
	map { "SELECT * FROM meter.preview_meter('cloud', 'p_$name', $_)" } ($rest, $rest =~ /since/ ? () : "$rest, since => '$since'")
} @meters;
all_same('2024-03-05 22:00Z', 'nothing', 'SELECT count(*) FROM cloud.anomaly', 'SELECT count(*) FROM cloud.current_usage', $previews[0]);
load_rows(1, $rows / 2, '2024-03-05 00:00Z');
load_odd_rows();
all_same('2024-03-05 22:00Z', 'no meters', @previews, 'SELECT count(*), count(DISTINCT class) FROM cloud.anomaly', 'SELECT count(*) FROM cloud.current_usage');

# --- all kinds of meters ---

both(join '', map { "SET meter.now = '2024-03-05 22:00Z'; SELECT meter.create_meter('cloud', $_);\n" } @meters);
ask('2024-03-05 22:00Z', 'before the first step');
both(q(SELECT meter.heartbeat('cloud', 's' || i, '2024-03-05 20:30Z') FROM generate_series(0, 2) i));
advance('2024-03-05 22:00Z');
ask('2024-03-05 23:10Z', 'settled');
load_odd_rows();
load_rows($rows / 4, $rows / 2, '2024-03-05 10:00Z');
ask('2024-03-06 23:10Z', 'late rows');
both(q(SELECT meter.heartbeat('cloud', 's' || i, '2024-03-06 20:30Z') FROM generate_series(0, 2) i));
advance('2024-03-06 22:00Z');
same("SELECT meter, count(*), sum(quantity) FROM cloud.usage WHERE revision > 0 GROUP BY 1 ORDER BY 1", 'adjustments');
same("SELECT meter.roll('cloud')", 'rolled');
load_rows($rows, $rows / 4, '2024-03-06 12:00Z');
ask('2024-03-07 03:10Z', 'segments');
all_same('2024-03-07 03:10Z', 'previews', @previews);
advance('2024-03-07 02:00Z');
same('SELECT log, segment, state, rows FROM meter.log_segments(\'cloud\')', 'segments: sealed');
load_rows($rows * 5 / 4, $rows / 4, '2024-03-06 18:00Z');
ask('2024-03-07 05:10Z', 'sealed segments');
my %found = map { $_ => 1 } split /\n/, sql("SET meter.now = '2024-03-07 05:10Z'; SELECT DISTINCT class FROM cloud.anomaly");
is(join(', ', grep { !$found{$_} } classes()), 'reconciled, opened by another source, since too early', 'anomalies of all classes, but for those of snapshots');
is(sql("SELECT count(*) FROM meter.verify('cloud')"), '0', 'verify is empty');
note("$compared questions were compared, $returned rows");

# --- what cannot be answered ---

sub errors
{
	my ($script, @databases) = @_;
	return map {
		my ($stdout, $stderr);
		$coordinator->psql($_, "SET client_min_messages = warning; $script", stdout => \$stdout, stderr => \$stderr);
		$stderr =~ s/^psql:<stdin>:\d+: //mg;
		$stderr;
	} @databases ? @databases : qw(cluster alone);
}

foreach my $script (
	"SELECT * FROM meter.anomalies('cloud', 'none')", "SELECT * FROM meter.anomalies('cloud', meter => 'none')", "SELECT * FROM meter.explain('cloud', '00000000-0000-0000-0000-000000000000')",
	"SELECT * FROM meter.live_usage('none')", "SELECT * FROM meter.explain('none', '00000000-0000-0000-0000-000000000000')", "SELECT * FROM meter.preview_meter('cloud', 'p')")
{
	my ($cluster, $alone) = errors($script);
	is($cluster, $alone, "the same error: $script");
	like($cluster, qr/ERROR/, 'an error');
}
like((errors("SELECT * FROM cloud.usage u, meter.explain('cloud', u.transaction_id)", 'cluster'))[0], qr/HINT:  This node is a worker of a cluster. Call the function on the coordinator/, 'a query that nodes would compute');
like((errors("SELECT meter.isolate_tenants('cloud')", 'cluster'))[0], qr/does not work on a distributed stream/, 'tenants cannot be isolated');

# --- whoever may ask ---

$coordinator->safe_psql('cluster', 'CREATE ROLE analyst LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN');
both("SELECT meter.grant_access('cloud', 'analyst', 'analyst'); GRANT USAGE ON SCHEMA cloud TO reader; GRANT SELECT ON cloud.current_usage, cloud.anomaly TO reader");
my ($id) = split /\n/, sql('SELECT transaction_id FROM cloud.usage LIMIT 1');
my %questions = (
	live => "SELECT count(*), sum(quantity) FROM meter.live_usage('cloud', 'account1')", resource => "SELECT count(*), sum(quantity) FROM meter.live_usage('cloud', resource => 'vm7')",
	view => 'SELECT count(*), sum(quantity) FROM cloud.current_usage', anomalies => 'SELECT count(*) FROM cloud.anomaly', explain => "SELECT count(*) FROM meter.explain('cloud', '$id')");
foreach my $as (
	[ 'analyst', 'SET ROLE analyst' ], [ 'reader', 'SET ROLE reader' ], [ 'nobody', 'SET ROLE nobody' ], [ 'a read-only transaction', 'BEGIN READ ONLY' ],
	[ 'repeatable read', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM cloud.settlement' ], [ 'a transaction that has written', "BEGIN; INSERT INTO cloud.event (\"time\", resource, account, action) VALUES ('2024-03-07 03:00Z', 'vm7', 'account1', 'start')" ],
	[ 'a transaction with a step', "BEGIN; SELECT usage_rows FROM meter.advance('cloud')" ])
{
	foreach my $question (sort keys %questions)
	{
		my $script = "SET meter.now = '2024-03-07 05:10Z'; $as->[1]; $questions{$question}";
		my ($cluster, $alone) = map {
			my ($stdout, $stderr);
			$coordinator->psql($_, "SET client_min_messages = error; $script", stdout => \$stdout, stderr => \$stderr);
			$stderr =~ s/^psql:<stdin>:\d+: //mg;
			"$stdout$stderr";
		} qw(cluster alone);
		is($cluster, $alone, "$as->[0]: $question");
		like($cluster, $as->[0] eq 'nobody' || ($as->[0] eq 'reader' && $question eq 'explain') ? qr/permission denied|may not|ERROR/ : qr/\A[^E]*\z/, "$as->[0]: $question: may" . ($cluster =~ /ERROR/ ? ' not' : ''));
	}
}
both('SELECT meter.grant_access(\'cloud\', \'analyst\', \'analyst\')');

# --- what goes over the network ---

# The statements that nodes were sent meanwhile, but for those of transactions.
sub sent
{
	my ($script) = @_;
	my @before = map { -s $_->logfile } @workers;
	sql("SET meter.now = '2024-03-07 05:10Z'; $script");
	return map {
		my $text = slurp_file($workers[$_]->logfile, $before[$_]);
		grep { !/^(BEGIN|COMMIT|ROLLBACK|SET|SELECT assign_distributed_transaction_id|PREPARE|SAVEPOINT|RELEASE|DISCARD|WITH placement_data|SELECT pg_catalog.citus_|SELECT waiting_pid,|SELECT gid FROM pg_prepared_xacts)/ }
		  map { s/\s+/ /gr } $text =~ /(?:statement|execute [^:]*): (.*?)(?=\n\d{4}-\d\d-\d\d |\n?\z)/sg
	} 0 .. $#workers;
}

foreach my $case (
	[ 'live usage of a resource', "SELECT count(*) FROM meter.live_usage('cloud', resource => 'vm7')", 1, 'live_usage' ], [ 'live usage of an account', "SELECT count(*) FROM meter.live_usage('cloud', 'account1')", 6, 'live_usage' ],
	[ 'live usage', "SELECT count(*) FROM meter.live_usage('cloud')", 6, 'live_usage' ], [ 'current_usage', 'SELECT count(*) FROM cloud.current_usage', 6, 'live_usage' ],
	[ 'anomalies', 'SELECT count(*) FROM cloud.anomaly', 6, 'anomalies' ], [ 'anomalies of a resource', "SELECT count(*) FROM meter.anomalies('cloud', resource => 'vm7')", 1, 'anomalies' ],
	[ 'a preview', "SELECT meter.preview_meter('cloud', 'p', starts => '{start}', stops => '{stop}', since => '2024-03-05 00:00Z')", 6, 'preview' ])
{
	my ($name, $script, $calls, $function) = @$case;
	my @sent = sent($script);
	is(scalar(@sent), $calls, "$name: $calls calls");
	is(scalar(grep { !/ FROM \(cloud\._shard_\d+ s CROSS JOIN LATERAL meter_internal\.${function}_of_shard\(/ } @sent), 0, "$name: nothing else") or diag(join("\n", map { substr($_, 0, 200) } @sent));
}
my @sent = sent("SELECT count(*) FROM meter.explain('cloud', '$id')");
is(scalar(grep { /meter_internal\.usage_row_of_shard\(/ } @sent), 6, 'explain: each shard looks the ID up');
is(scalar(grep { /meter_internal\.explain_of_shard\(/ } @sent), 1, 'explain: one shard explains it');
is(scalar(@sent), 7, 'explain: nothing else');
my $resource = sql("SELECT resource FROM cloud.usage WHERE transaction_id = '$id'");
my $shard = sql("SELECT shard_name('cloud._shard'::regclass, s.shardid) FROM pg_dist_shard s JOIN pg_dist_shard e ON e.logicalrelid = 'cloud.event'::regclass AND e.shardminvalue = s.shardminvalue
	WHERE s.logicalrelid = 'cloud._shard'::regclass AND e.shardid = get_shard_id_for_distribution_column('cloud.event', '$resource')");
like((grep { /explain_of_shard/ } @sent)[0], qr/FROM \(\Q$shard\E s /, 'which is the one that Citus has the resource in');

load_rows($rows * 3 / 2, 50, '2024-03-07 00:00Z');
@sent = sent("SET meter.now = '2024-03-07 12:00Z'; CALL meter.run('cloud')");
cmp_ok(scalar(grep { /meter_internal\.work_on_shard\(/ } @sent), '>', 6, 'a step: work on shards');
my @others = grep { !/meter_internal\.work_on_shard\(|^UPDATE cloud\._shard_|^COPY |COMMIT PREPARED|run_command|^INSERT INTO/ } @sent;
# what they select is a sum, a count, whether there is something, or the instants of rows that are ahead of the clock
is(join("\n", grep { !/^(SELECT|WITH) .*((min|max|count|sum|bool_or|string_agg|array_agg)\(|LIMIT|SELECT 1|SELECT true)|^SELECT DISTINCT '\w+'::text AS "\?column\?", ("time"|end_time) FROM/i } @others), '',
	'a step: nothing else but sums');

# --- one instant ---

both("SELECT meter.drop_stream('cloud', delete_data => true); SELECT meter.create_stream('clock'); SELECT meter.create_meter('clock', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 00:00Z')");
sql("SELECT meter.distribute_stream('clock', 6);
	INSERT INTO clock.event (\"time\", resource, account, action) SELECT '2024-03-05 00:00Z', 'vm' || i, 'account' || i % 3, 'start' FROM generate_series(1, 300) i");
my $settles = IPC::Run::start([ 'psql', '-XAtq', '-d', $coordinator->connstr('cluster'), map { ('-c', "SELECT set_config('meter.now', ('2024-03-05 00:00Z'::timestamptz + $_ * interval '1 hour')::text, false)", '-c', "CALL meter.run('clock')") } 1 .. 60 ],
	'<', \undef, '>', '/dev/null', '2>', '/dev/null');
my ($answers, %sums, %watermarks) = (0);
while (!$watermarks{'2024-03-07 12:00:00+00'} && $answers < 1000)
{
	my $asked = sql("SET meter.now = '2024-03-07 12:00Z'; SELECT sum(quantity) FROM meter.live_usage('clock'); SELECT sum(quantity) FROM meter.live_usage('clock', 'account1');
		SELECT sum(quantity) FROM meter.live_usage('clock', resource => 'vm7'); SELECT watermark FROM meter.meter WHERE stream = 'clock'");
	my ($all, $account, $resource, $watermark) = split /\n/, $asked;
	$sums{"$all|$account|$resource"}++;
	$watermarks{$watermark}++;
	$answers++;
}
$settles->finish;
is(join(', ', keys %sums), '1080000|360000|3600', "what is settled and what is not yet come to the same at each instant: $answers answers, " . keys(%watermarks) . ' watermarks');
cmp_ok(scalar(keys %watermarks), '>', 5, 'while steps were made');
is(sql("SELECT count(*) FROM meter.verify('clock')"), '0', 'verify is empty at the end');

done_testing();
