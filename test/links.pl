# Says which links of the pages lead nowhere: to a file that does not exist, or to a heading that its page does not have; which
# pages have the same name; and which page of docs/ the table of contents leaves out. Prints nothing if all is well.
#
#     perl test/links.pl
#
# Links to other sites are not followed. Headings have the anchors that GitHub gives them.
use strict;
use warnings;
use File::Basename;
use FindBin;
use lib $FindBin::RealBin;
use Pages;

my @pages = Pages::all();
my (%anchors, %of_name, %listed);

foreach my $page (@pages)
{
	$anchors{$page}{$_} = 1 foreach grep { defined } Pages::anchors(Pages::lines($page));
	my $name = basename($page);
	print "$page: $of_name{$name} has the same name\n" if $page =~ /^docs/ && $of_name{$name};
	$of_name{$name} = $page;
}

foreach my $page (@pages)
{
	my $number = 0;
	foreach my $line (Pages::prose($page))
	{
		$number++;
		foreach my $link (Pages::links($line))
		{
			my ($path, $anchor) = split /#/, $link, 2;
			my $target = $path eq '' ? $page : Pages::resolve($page, $path);
			if (!-e $target)
			{
				print "$page:$number: there is no $target\n";
			}
			elsif (defined $anchor && $target =~ /\.md$/ && !$anchors{$target}{$anchor})
			{
				print "$page:$number: $target has no heading #$anchor\n";
			}
			$listed{$target} = 1 if $page eq 'docs/index.md';
		}
	}
}
print map { "docs/index.md does not list $_\n" } grep { m{^docs/} && $_ ne 'docs/index.md' && !$listed{$_} } @pages;
