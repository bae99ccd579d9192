# Runs the blocks of SQL below a heading of a page in one session of psql, and says whether each printed what the page has
# below it.
#
#     perl readme.pl PAGE HEADING [COMMAND…]         psql, where no other command is named
use strict;
use warnings;
use File::Temp;

my ($page, $heading, @psql) = @ARGV;
@psql = ('psql') unless @psql;

open my $file, '<', $page or die "$page: $!\n";
my @lines = <$file>;
my ($below, $language, @blocks) = (0);
foreach (@lines)
{
	if (!defined $language && /^## (.*)$/) { $below = $1 eq $heading; next }
	next unless $below;
	if (/^```(\w*)$/)
	{
		$language = defined $language ? undef : $1;
		push @blocks, { sql => '' } if defined $language && $language eq 'sql';
		$blocks[-1]{text} = '' if defined $language && $language eq 'text';
	}
	elsif (defined $language && @blocks) { $blocks[-1]{$language} .= $_ }
}
die "$page: no SQL below \"$heading\"\n" unless @blocks;

my $script = File::Temp->new;
print $script "\\set QUIET on\n\\pset pager off\n", map { "\\echo >>> block\n$_->{sql}\n" } @blocks;
close $script;
open my $input, '<', "$script" or die "$script: $!\n";
open STDIN, '<&', $input or die "standard input: $!\n";
open my $output, '-|', @psql or die "$psql[0]: $!\n";
my (undef, @printed) = split /^>>> block\n/m, join '', <$output>;
close $output or die "$psql[0] failed\n";

sub plain { return $_[0] =~ s/[ \t]+$//mgr }

my $failed = 0;
foreach my $i (0 .. $#blocks)
{
	my $expected = plain($blocks[$i]{text} // '');
	my $got      = plain($printed[$i] // '');
	next if index($got, $expected) >= 0;
	$failed++;
	print "block ", $i + 1, " printed\n$got\ninstead of\n$expected\n";
}
printf "%d blocks, %d failed\n", scalar @blocks, $failed;
exit($failed ? 1 : 0);
