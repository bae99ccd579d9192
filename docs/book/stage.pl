# Copies the pages into a folder from which mkdocs makes the book, and prints the configuration of mkdocs.
#
#     perl stage.pl CLONE FOLDER
#
# The pages keep their places, so links between them lead to the same pages as on GitHub. What else they link to is copied, too:
# a file as it is; a folder with a page that lists what is in it. Headings get the anchors that GitHub gives them. The contents are
# those of docs/index.md, in its order, between the README and what is about the project.
use strict;
use warnings;
use open qw(:std :encoding(UTF-8));
use Cwd qw(abs_path);
use File::Basename;
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::RealBin/../../test";
use Pages;

my ($clone, $folder) = @ARGV;
$clone = abs_path($clone);
chdir $clone or die "$clone: $!\n";

sub stage
{
	my ($file) = @_;
	make_path("$folder/" . dirname($file));
	copy($file, "$folder/$file") or die "$file: $!\n";
	return;
}

sub write_file
{
	my ($file, $text) = @_;
	make_path("$folder/" . dirname($file));
	open my $f, '>', "$folder/$file" or die "$file: $!\n";
	print $f $text;
	close $f or die "$file: $!\n";
	return;
}

my @about_project = grep { -e } qw(CONTRIBUTING.md SECURITY.md CHANGELOG.md);
my %is_page       = map { $_ => 1 } Pages::all();
my %done;

# A folder as a page of its own.
sub stage_folder
{
	my ($path) = @_;
	return if $done{$path}++;
	my @files = sort grep { -f } glob("$path/*");
	stage($_) foreach @files;
	write_file("$path/README.md", join "\n", "# $path/", '', map({ sprintf '- [%s](%s)', basename($_), basename($_) } @files), '');
	return;
}

foreach my $page (sort keys %is_page)
{
	my @lines  = Pages::lines($page);
	my @anchor = Pages::anchors(@lines);
	my $code   = 0;

	foreach my $i (0 .. $#lines)
	{
		$code = !$code if $lines[$i] =~ /^```/;
		next if $code;
		$lines[$i] .= " {#$anchor[$i]}" if defined $anchor[$i];
		foreach my $link (Pages::links($lines[$i]))
		{
			my ($path, $anchor) = split /#/, $link, 2;
			next if $path eq '';
			my $target = Pages::resolve($page, $path);
			if ($is_page{$target}) { }
			elsif (-d "$clone/$target")
			{
				stage_folder($target);
				$lines[$i] =~ s{\]\(\Q$link\E\)}{](${\ ($path =~ s{/$}{}r)}/README.md)};
			}
			elsif (-f "$clone/$target") { stage($target) }
		}
	}
	write_file($page, join("\n", @lines, ''));
}
stage($_) foreach glob('docs/diagrams/*.svg');

# --- the configuration --------------------------------------------------------------------------------------------------

sub quoted { my ($s) = @_; $s =~ s/`//g; $s =~ s/'/''/g; return "'$s'" }

my ($version) = map { /^default_version *= *'(.*)'/ ? $1 : () } Pages::lines('meter.control');
my $nav = "- 'What it is': README.md\n- 'Contents': docs/index.md\n";
my $section;
my %listed = map { $_ => 1 } qw(README.md docs/index.md), @about_project;

foreach my $line (Pages::lines('docs/index.md'))
{
	$section = $1 if $line =~ /^## (.+)/;
	next unless defined $section && $line =~ /^\s*(?:[-*]|\d+\.)\s+\[([^\]]+)\]\(([^)#\s]+\.md)\)/;
	my ($title, $page) = ($1, Pages::resolve('docs/index.md', $2));
	next if $listed{$page}++;
	$nav .= '- ' . quoted($section) . ":\n" if $section ne '';
	$section = '';
	$nav .= '  - ' . quoted($title) . ": $page\n";
}
$nav .= "- 'The project':\n" . join '', map { '  - ' . quoted(ucfirst lc basename($_, '.md')) . ": $_\n" } @about_project;

my $highlight = system('python3 -c "import pygments" 2>/dev/null') == 0 || system('/usr/bin/python3 -c "import pygments" 2>/dev/null') == 0 ? 'true' : 'false';
print <<"YAML";
site_name: meter
site_description: 'version $version'
docs_dir: $folder
use_directory_urls: false
theme:
  name: null
  custom_dir: $clone/docs/book/theme
plugins:
- search
markdown_extensions:
- attr_list
- tables
- fenced_code
- sane_lists
- toc:
    permalink: '#'
- codehilite:
    css_class: highlight
    guess_lang: false
    use_pygments: $highlight
nav:
$nav
YAML
