# Says which links of the pages lead nowhere: to a file that does not exist, or to a heading that its page does not have; which
# pages have the same name; and which page of docs/ the table of contents leaves out. Prints nothing if all is well.
#
#     perl test/links.pl
#
# Links to other sites are not followed. Headings have the anchors that GitHub gives them.
use strict;
use warnings;
use File::Basename;
use File::Spec;

my @pages = sort grep { !m{^debian/} } (glob('*.md'), glob('docs/*.md'), glob('docs/*/*.md'));
my (%text, %anchors, %of_name);

# The lines of a page that are not code.
sub prose
{
	my ($page) = @_;
	my $code = 0;
	open my $file, '<', $page or die "$page: $!\n";
	my @lines = map { chomp; $code = !$code if /^```/; $code ? '' : $_ } <$file>;
	return \@lines;
}

# FOLDER/../PATH as PATH
sub resolve
{
	my ($path) = @_;
	1 while $path =~ s{(?:^|(?<=/))(?!\.\.)[^/]+/\.\./}{};
	return $path =~ s{^(?:\./)+}{}r;
}

foreach my $page (@pages)
{
	$text{$page} = prose($page);
	my %seen;
	foreach my $heading (map { /^#+ (.+)$/ ? $1 : () } @{ $text{$page} })
	{
		my $anchor = lc($heading =~ s/\[([^\]]*)\]\([^)]*\)/$1/gr) =~ s/[^\w\- ]//gr =~ s/ /-/gr;
		my $n = $seen{$anchor}++;
		$anchors{$page}{ $n ? "$anchor-$n" : $anchor } = 1;
	}
	my $name = basename($page);
	print "$page: $of_name{$name} has the same name\n" if $page =~ /^docs/ && $of_name{$name};
	$of_name{$name} = $page;
}

my %listed;
foreach my $page (@pages)
{
	my $folder = dirname($page);
	my $number = 0;
	foreach my $line (@{ $text{$page} })
	{
		$number++;
		my $bare = $line =~ s/`[^`]*`//gr;
		foreach my $link ($bare =~ /\]\(([^)\s]+)\)/g)
		{
			next if $link =~ /^\w+:/;
			my ($path, $anchor) = split /#/, $link, 2;
			my $target = $path eq '' ? $page : resolve($folder eq '.' ? $path : "$folder/$path");
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
