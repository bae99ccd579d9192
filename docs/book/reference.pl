# Prints a page with its entries made anew from the catalog of the database that psql connects to, which has the extension.
#
#     perl reference.pl docs/reference/functions.md
use strict;
use warnings;
use open qw(:std :encoding(UTF-8));
use FindBin;
use lib $FindBin::RealBin;
use Reference;

my ($file) = @ARGV;
open my $f, '<', $file or die "$file: $!\n";
my $page = do { local $/; <$f> };
open my $psql, '-|', 'psql', '-XAtq', '-F', "\x1f", '-R', "\x1e", '-c', $Reference::catalog or die "psql: $!\n";
my $rows = do { local $/; <$psql> };
close $psql or die "psql failed\n";
my ($text, @complaints) = Reference::generate($page, $rows);
print $text;
if (@complaints)
{
	print STDERR map { "$_\n" } @complaints;
	print STDERR "docs/reference/functions.md is not complete; the head of docs/book/Reference.pm says what an entry is\n";
}
