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
# The page "functions" is made from the catalog, as far as docs/book/Reference.pm says: it is made again, and compared.
#
# Each page is also written to $TESTDIR/pages as it would have to be, for a person to read and to take over:
# TESTS=settling KEEP=1.
use strict;
use warnings;
use Encode qw(decode_utf8 encode_utf8);
use FindBin;
use lib "$FindBin::RealBin/../docs/book";
use IPC::Run ();
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Reference;
use Test::More;
use Time::Local qw(timegm);

my $most_exempt  = 4;
my $most_at_once = 4;
my $root         = "$FindBin::RealBin/..";
my $instant      = qr/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00/;
my $marker       = '--- end of block';
my %blocks       = ('run' => 0, 'not compared' => 0, 'not run' => 0);

$ENV{PGUSER} = 'postgres';
$ENV{PGTZ}   = 'UTC';
$ENV{METER_CLUSTERS} = 'apart';
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
	$page->{node}->stop('immediate');
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

# Promise: the page "functions" has all that the extension has for users, as the catalog describes it, and an example of each
# function. The page as it would have to be is written over the one that has the examples as they ran.
sub check_reference
{
	my ($name) = @_;
	my $page = decode_utf8(slurp_file(page_file($name)));
	my $node = PostgreSQL::Test::Cluster->new('reference');
	$node->init(extra => [ '-U', 'postgres' ]);
	$node->append_conf('postgresql.conf', "fsync = off\nshared_preload_libraries = 'meter'\nmeter.enabled = off\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION meter');
	my $catalog = $node->safe_psql('postgres', $Reference::catalog, extra_params => [ '-F', "\x1f", '-R', "\x1e" ]);
	$node->stop('immediate');

	my ($expected, @complaints) = Reference::generate($page, decode_utf8($catalog));
	push @complaints, "make reference would change it:\n" . difference("$name-reference", encode_utf8($page), encode_utf8($expected)) if $page ne $expected;
	ok(!@complaints, "$name: it is what the catalog says, with an example of each function");
	diag($_) foreach @complaints;

	my $printed = "$ENV{TESTDIR}/pages/$name.md";
	my ($whole) = Reference::generate(decode_utf8(slurp_file($printed)), decode_utf8($catalog));
	unlink $printed;
	append_to_file($printed, encode_utf8($whole));
	return;
}

# So many pages are at work at a time, beside those that wait long for the worker or for pg_cron: they begin first and end last.
my %wait    = map { $_ => sum0(slurp_file(page_file($_)) =~ /pg_sleep\((\d+)\)/g) } @ARGV;
my @waiting = map { start_page($_) } grep { $wait{$_} >= 10 } @ARGV;
my @next    = grep { $wait{$_} < 10 } @ARGV;
my @begun;
while (@next || @begun)
{
	push @begun, start_page(shift @next) while @next && @begun < $most_at_once;
	finish_page(shift @begun) if @begun;
}
finish_page($_) foreach @waiting;
check_reference('functions') if grep { $_ eq 'functions' } @ARGV;
my $exempt = $blocks{'not compared'} + $blocks{'not run'};
ok(0, "$exempt blocks are exempt, more than $most_exempt") if $exempt > $most_exempt;
note("$blocks{run} blocks as the pages have them, $blocks{'not compared'} not compared, $blocks{'not run'} not run");
done_testing();
