# Promise: every SQL example of the documentation runs, and prints what its page says.
#
#     perl docs.pl PAGE…        names without folder and suffix, which no two pages share: README settling …
#
# A test is a page. Its blocks of ```sql run from top to bottom in one session of psql, as superuser postgres, in a server of
# the page's own: in the database "billing", in UTC, with meter preloaded and its worker switched off. In the database of a
# page of docs/ the extension is there already. The page's blocks of ```conf are lines of the server's postgresql.conf; where
# pg_cron is not installed, a page that preloads it is skipped. Blocks in other languages are not looked at.
#
# What a block prints stands in a block of ```text right after it, as psql -q prints it, errors, notices and hints among it; a
# block without one prints nothing. Results without columns, and those of one column with nothing in any row (functions that
# return void) are left out. A block ends with the end of a statement.
#
# Times of now differ from run to run. So in a result with an instant between two hours before the page began and its end, any
# instant will do in that place, and widths of columns do not count. The same holds for the number in "with PID n", and for
# the interval in a line "lag | …" of expanded output, and "lag_seconds" and "overdue_seconds". Pages whose times shall be exact set meter.now.
#
# <!-- not compared: why --> on the line before a block lets it print anything but errors, <!-- not run: why --> leaves it out.
# Only as many as $most_exempt may be so.
#
# The page "functions" is an index: it is compared with the catalog.
#
# Each page is also written to $TESTDIR/pages as it would have to be, for a person to read and to take over:
# TESTS=settling KEEP=1.
use strict;
use warnings;
use FindBin;
use IPC::Run ();
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $most_exempt  = 4;
my $most_at_once = 20;
my $root         = "$FindBin::RealBin/..";
my $instant      = qr/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00/;
my $marker       = '--- end of block';
my %blocks       = ('run' => 0, 'not compared' => 0, 'not run' => 0);

$ENV{PGUSER} = 'postgres';
$ENV{PGTZ}   = 'UTC';
delete $ENV{PGAPPNAME};

sub page_file
{
	my ($page) = @_;
	return "$root/README.md" if $page eq 'README';
	my ($file) = grep { -e } "$root/docs/$page.md", glob("$root/docs/*/$page.md");
	return $file // die "there is no page $page\n";
}

# The lines of a page, and its blocks: language, index of the line of the opening fence, content, and for SQL what it should
# print (undef: there is no block of text) and the reason why it is not run.
sub read_page
{
	my ($page) = @_;
	my @lines = split /\n/, slurp_file(page_file($page));
	my (@blocks, $open);
	my $exempt;

	foreach my $i (0 .. $#lines)
	{
		my $line = $lines[$i];

		if ($open && $line eq '```')
		{
			$open->{last} = $i;
			my $before = @blocks ? $blocks[-1] : undef;
			if ($open->{language} eq 'text' && $before && $before->{language} eq 'sql' && $before->{last} == $open->{first} - 1)
			{
				$before->{text}     = $open->{content};
				$before->{replaced} = $i - $open->{first} + 1;
			}
			else
			{
				push @blocks, $open;
			}
			$open = undef;
		}
		elsif ($open)
		{
			$open->{content} .= "$line\n";
		}
		elsif ($line =~ /^\s*```(.*)$/)
		{
			die "$page, line " . ($i + 1) . ": a block must not be indented\n" if $line =~ /^\s/;
			$open = { language => $1, first => $i, content => '', exempt => $exempt };
		}
		$exempt = $line =~ /^<!-- (not run|not compared): .+ -->$/ ? $1 : undef;
	}
	die "$page: block of line " . ($open->{first} + 1) . " has no end\n" if $open;
	return (\@lines, @blocks);
}

# Without the results that pages leave out, blanks at the ends of lines, and empty lines at the end.
sub tidy
{
	my ($text) = @_;
	$text =~ s/^--\n\(\d+ rows?\)\n\n?//mg;
	$text =~ s/^ [^|\n]*\n-+\n(?: *\n)+\(\d+ rows?\)\n\n?//mg;
	$text =~ s/[ \t]+$//mg;
	$text =~ s/\n+\z//;
	return $text eq '' ? '' : "$text\n";
}

sub squeeze
{
	my ($line) = @_;
	$line =~ s/([ -])\1+/$1/g;
	return $line;
}

# is_of_now INSTANT, BEGIN: whether it lies between two hours before `begin` and now.
sub is_of_now
{
	my ($text, $begin) = @_;
	my ($y, $mo, $d, $h, $mi, $s) = $text =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)/ or die;
	my $t = timegm($s, $mi, $h, $d, $mo - 1, $y);
	return $t >= $begin - 7200 && $t <= time;
}

# The pattern of lines, squeezed, that are the same as this one but for values of now; undef where it has none.
sub pattern_of_now
{
	my ($line, $begin) = @_;
	my $pattern = '';
	my $found   = 0;

	foreach my $part (split /($instant|(?<=with PID )\d+|(?<=^lag \| )-?[\d:.]+$|(?<=^lag_seconds \| )-?\d+$|(?<=^overdue_seconds \| )-?\d+$)/, squeeze($line))
	{
		my $any;
		if    ($part =~ /^$instant$/)                                     { $any = $instant if is_of_now($part, $begin) }
		elsif ($pattern =~ /with\\ PID\\ $/ && $part =~ /^\d+$/)             { $any = qr/\d+/ }
		elsif ((grep { $pattern eq quotemeta("$_ | ") } qw(lag lag_seconds overdue_seconds)) && $part =~ /^-?[\d:.]+$/) { $any = qr/-?[\d:.]+/ }
		$found = 1 if $any;
		$pattern .= $any // quotemeta $part;
	}
	return $found ? $pattern : undef;
}

# What was printed, with the page's own lines in place of those that differ in values of now only. Such values change the
# widths of their result's columns, so its other lines are compared without regard to those.
sub adopt
{
	my ($printed, $expected, $begin) = @_;
	my @expected = split /\n/, $expected;
	my $next     = 0;
	my @result;

	foreach my $paragraph (split /\n(?=\n)/, $printed)
	{
		my @lines   = split /\n/, $paragraph;
		my @pattern = map { pattern_of_now($_, $begin) } @lines;
		my $of_now  = grep { defined } @pattern;

		foreach my $i (0 .. $#lines)
		{
			my $same = sub { $_[0] eq $lines[$i] };
			if ($of_now)
			{
				my $pattern = $pattern[$i] // quotemeta squeeze($lines[$i]);
				$same = sub { squeeze($_[0]) =~ /^$pattern$/ };
			}
			my ($found) = grep { $same->($expected[$_]) } $next .. $#expected;
			next unless defined $found;
			$lines[$i] = $expected[$found];
			$next = $found + 1;
		}
		push @result, @lines;
	}
	return @result ? join("\n", @result) . "\n" : '';
}

sub difference
{
	my ($page, $expected, $printed) = @_;
	my $base = "$PostgreSQL::Test::Utils::tmp_check/$page";
	my $diff;

	foreach ([ 'page', $expected ], [ 'psql', $printed ])
	{
		unlink "$base.$_->[0]";
		append_to_file("$base.$_->[0]", $_->[1]);
	}
	IPC::Run::run([ 'diff', '-u', '--label', 'the page says', '--label', 'psql prints', "$base.page", "$base.psql" ], '>', \$diff);
	return $diff;
}

# The page, as it would be if it said what was printed.
sub write_page
{
	my ($page, $lines, @blocks) = @_;
	my @lines = @$lines;

	foreach my $block (reverse grep { defined $_->{printed} } @blocks)
	{
		splice @lines, $block->{last} + 1, $block->{replaced} // 0,
		  $block->{printed} eq '' ? () : ('```text', split(/\n/, $block->{printed}), '```');
	}
	mkdir "$ENV{TESTDIR}/pages";
	unlink "$ENV{TESTDIR}/pages/$page.md";
	append_to_file("$ENV{TESTDIR}/pages/$page.md", join("\n", @lines, ''));
	return;
}

# A page's server, and psql at work on it; nothing, where the page has no blocks or is skipped.
sub start_page
{
	my ($name) = @_;
	my ($lines, @blocks) = read_page($name);
	my @sql  = grep { $_->{language} eq 'sql' && ($_->{exempt} // '') ne 'not run' } @blocks;
	return unless @sql;
	my $conf = join '', map { $_->{content} } grep { $_->{language} eq 'conf' } @blocks;

	if ($conf =~ /^shared_preload_libraries.*pg_cron/m)
	{
		my $sharedir = `"@{[ $ENV{PG_CONFIG} || 'pg_config' ]}" --sharedir`;
		chomp $sharedir;
		if (!-e "$sharedir/extension/pg_cron.control")
		{
			SKIP: { skip("$name: pg_cron is not installed", 1) }
			return;
		}
	}

	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '-U', 'postgres' ]);
	$node->append_conf('postgresql.conf', <<"CONF");
fsync = off
timezone = 'UTC'
max_prepared_transactions = 10
max_worker_processes = 16
shared_preload_libraries = 'meter'
meter.enabled = off
$conf
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE billing');
	$node->safe_psql('billing', 'CREATE EXTENSION meter') unless $name eq 'README';

	# From standard input, so that messages have no file and line before them. One file for both outputs keeps their order.
	my $base = "$PostgreSQL::Test::Utils::tmp_check/$name";
	my $n    = 0;
	append_to_file("$base.sql", join '', map { "$_->{content}\\echo $marker " . $n++ . "\n" } @sql);
	return {
		name   => $name,
		lines  => $lines,
		blocks => \@blocks,
		sql    => \@sql,
		node   => $node,
		output => "$base.out",
		begin  => time,
		psql   => IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('billing') ],
			'<', "$base.sql", '>&', "$base.out", IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)),
	};
}

sub finish_page
{
	my ($page) = @_;
	my ($name, @sql) = ($page->{name}, @{ $page->{sql} });
	my @complaints;

	push @complaints, "$name: psql took too long" unless eval { $page->{psql}->finish; 1 };
	$page->{node}->stop;
	my $output = slurp_file($page->{output});

	foreach my $i (0 .. $#sql)
	{
		my $block    = $sql[$i];
		my $where    = "$name, block " . ($i + 1) . ", line " . ($block->{first} + 1);
		my $expected = $block->{text} // '';

		if ($output !~ s/\A(.*?)^\Q$marker\E $i\n//ms)
		{
			push @complaints, "$where: it does not end, or psql did\n$output";
			last;
		}
		my $printed = tidy($1);
		push @complaints, "$where: its last statement does not end"
		  unless $block->{content} =~ /(?:;|\\g\S*|^\\.*)(?:[ \t]*--.*)?\s*\z/m;
		if ($block->{exempt})
		{
			push @complaints, "$where\n$1" if $printed =~ /^((?:ERROR|FATAL|PANIC):.*)/ms;
			next;
		}
		$block->{printed} = adopt($printed, $expected, $page->{begin});
		push @complaints, "$where\n" . difference($name, $expected, $block->{printed}) if $block->{printed} ne $expected;
	}
	write_page($name, $page->{lines}, @{ $page->{blocks} });
	ok(!@complaints, "$name: " . @sql . ' blocks');
	diag($_) foreach @complaints;
	$blocks{ $_->{exempt} // 'run' }++ foreach grep { $_->{language} eq 'sql' } @{ $page->{blocks} };
	return;
}

# The catalog as entries of the index: routines with arguments and results as \df shows them, types, operators, casts, relations
# and settings.
my $catalog_entries = <<'SQL';
SELECT CASE prokind WHEN 'p' THEN 'CALL ' ELSE '' END || format('meter.%s(%s)', proname, pg_get_function_arguments(oid))
	|| CASE WHEN prokind = 'p' OR prorettype = 'void'::regtype OR 'o' = ANY (proargmodes) THEN '' ELSE ' → ' || pg_get_function_result(oid) END
FROM pg_proc WHERE pronamespace = 'meter'::regnamespace
UNION ALL
SELECT 'type ' || format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'meter'::regnamespace AND typrelid = 0 AND typcategory <> 'A'
UNION ALL
SELECT 'meter.' || relname FROM pg_class WHERE relnamespace = 'meter'::regnamespace AND relkind NOT IN ('i', 'I', 't')
UNION ALL
SELECT format('%s %s %s', oprleft::regtype, oprname, oprright::regtype) FROM pg_operator WHERE oid IN (SELECT objid FROM pg_depend
	WHERE classid = 'pg_operator'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'meter'))
UNION ALL
SELECT format('%s::%s', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid IN (SELECT objid FROM pg_depend
	WHERE classid = 'pg_cast'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'meter'))
UNION ALL
SELECT name FROM pg_settings WHERE name LIKE 'meter.%'
ORDER BY 1
SQL

# What of that has no comment, and columns of views that have none.
my $without_comment = <<'SQL';
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'meter'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
UNION ALL
SELECT t.oid::regtype::text FROM pg_type t WHERE typnamespace = 'meter'::regnamespace AND typrelid = 0 AND typcategory <> 'A' AND obj_description(oid, 'pg_type') IS NULL
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'meter'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL
UNION ALL
SELECT attrelid::regclass || '.' || attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'meter'::regnamespace AND relkind = 'v' AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
ORDER BY 1
SQL

# Promise: the page "functions" lists what the extension has for users, no more and no less, and each entry leads to a section.
# That it is there is for test/links.pl.
sub check_index
{
	my ($name) = @_;
	my (%in_page, @complaints);

	foreach my $line (grep { /^\| `/ } split /\n/, slurp_file(page_file($name)))
	{
		my ($entry, $links) = $line =~ /^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|$/;
		if (!defined $entry)
		{
			push @complaints, "a line that is no entry: $line";
			next;
		}
		push @complaints, "two times: $entry" if $in_page{$entry}++;
		push @complaints, "no link: $entry" if $links !~ /\[\w+\]\([\w.\/]+\.md/;
	}

	my $node = PostgreSQL::Test::Cluster->new('index');
	$node->init(extra => [ '-U', 'postgres' ]);
	$node->append_conf('postgresql.conf', "fsync = off\nshared_preload_libraries = 'meter'\nmeter.enabled = off\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION meter');
	my @in_catalog = split /\n/, $node->safe_psql('postgres', $catalog_entries);
	my %in_catalog = map { $_ => 1 } @in_catalog;
	push @complaints, map { "not in the page: $_" } grep { !$in_page{$_} } @in_catalog;
	push @complaints, map { "not in the catalog: $_" } grep { !$in_catalog{$_} } sort keys %in_page;
	push @complaints, map { "without a comment: $_" } split /\n/, $node->safe_psql('postgres', $without_comment);
	$node->stop;
	ok(!@complaints, "$name: " . @in_catalog . ' entries are those of the catalog');
	diag($_) foreach @complaints;
	return;
}

# Some pages wait for the worker or for pg_cron. So many are at work at a time, and those that wait longest begin.
my %wait = map { $_ => sum0(slurp_file(page_file($_)) =~ /pg_sleep\((\d+)\)/g) } @ARGV;
my @next = sort { $wait{$b} <=> $wait{$a} || $a cmp $b } @ARGV;
my @begun;
while (@next || @begun)
{
	push @begun, start_page(shift @next) while @next && @begun < $most_at_once;
	finish_page(shift @begun) if @begun;
}
check_index('functions') if grep { $_ eq 'functions' } @ARGV;
my $exempt = $blocks{'not compared'} + $blocks{'not run'};
ok(0, "$exempt blocks are exempt, more than $most_exempt") if $exempt > $most_exempt;
note("$blocks{run} blocks as the pages have them, $blocks{'not compared'} not compared, $blocks{'not run'} not run");
done_testing();
