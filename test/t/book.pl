# Promise: the book builds, with every page in the order of the table of contents, no link or anchor in it leads nowhere, and
# it loads nothing from another site.
use strict;
use warnings;
use open qw(:std :encoding(UTF-8));
use File::Find;
use FindBin;
use lib "$FindBin::RealBin/..";
use Pages;
use Test::More;

my $clone = "$FindBin::RealBin/../..";
my $book  = ($ENV{TESTDATADIR} || $ENV{TESTDIR} || '/tmp') . "/book-$$";

plan skip_all => 'mkdocs is not installed' if system('command -v mkdocs >/dev/null 2>&1') != 0;
chdir $clone or die "$clone: $!\n";

my $said = `BOOK='$book' docs/book/run 2>&1`;
is($?, 0, 'it builds, and mkdocs has nothing to complain of') or diag($said);

my (%html, %id);
find({ no_chdir => 1, wanted => sub {
	return unless /\.html$/;
	my $file = s{^\Q$book\E/}{}r;
	$html{$file} = join "\n", Pages::lines($_);
	$id{$file}{$1} = 1 while $html{$file} =~ /\bid="([^"]+)"/g;
} }, $book);

my @missing = grep { !$html{$_} } map { $_ eq 'README.md' ? 'index.html' : s/\.md$/.html/r } Pages::all();
is("@missing", '', 'each page is there');

my @complaints;
foreach my $file (sort keys %html)
{
	while ($html{$file} =~ /\b(?:href|src)="([^"]*)"/g)
	{
		my $link = $1;
		next if $link =~ /^mailto:/;
		if ($link =~ /^\w+:/)
		{
			# A link may lead to another site; what a page loads may not come from there.
			push @complaints, "$file loads $link" if $& =~ /^src/ || $html{$file} =~ /<link[^>]*href="\Q$link\E"/;
			next;
		}
		my ($path, $anchor) = split /#/, $link, 2;
		my $target = $path eq '' ? $file : Pages::resolve($file, $path);
		if (!-f "$book/$target") { push @complaints, "$file: there is no $target" }
		elsif (defined $anchor && $anchor ne '' && $target =~ /\.html$/ && !$id{$target}{$anchor})
		{
			push @complaints, "$file: $target has no #$anchor";
		}
	}
}
is(join("\n", @complaints), '', 'links and anchors lead somewhere, and nothing is loaded from another site');

my ($nav) = $html{'index.html'} =~ m{<nav aria-label="Contents">(.*?)</nav>}s;
my %in_contents;
my @contents = grep { m{^docs/} && !$in_contents{$_}++ }
  map { map { Pages::resolve('docs/index.md', $_) =~ s/\.md$/.html/r } grep { !/#/ && /\.md$/ } Pages::links($_) } Pages::prose('docs/index.md');
my @in_nav = grep { m{^docs/} && $_ ne 'docs/index.html' } $nav =~ /href="([^"#]+)"/g;
is_deeply(\@in_nav, \@contents, 'its contents are those of docs/index.md, in their order');

# The index is a script, so that the search works in a page that was opened from a disk.
my $index = join "\n", Pages::lines("$book/index.js");
like($index, qr/^searchIndex\(\{.*\}\)\s*$/s, 'there is an index for the search');
my @unknown = grep { index($index, "\"location\":\"$_\"") < 0 } grep { !m{/README\.html$} } keys %html;
is("@unknown", '', 'the search knows each page');

# What was written as a list, a table or code is one in the book: no line of a page was taken for plain text.
my @plain = grep { my $prose = $html{$_} =~ s{<pre.*?</pre>|<code>.*?</code>}{}gsr; $prose =~ /^(?:<p>)?(?:\|.*\||```|- .*)$/m } sort keys %html;
is("@plain", '', 'lists, tables and code are what they were meant to be');
system('rm', '-rf', $book);
done_testing();
