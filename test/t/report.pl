# Promise: the page of meter.report_html is one that a browser shows without a complaint, on a phone without scrolling sideways, on paper,
# in light and dark with enough contrast, and that needs nothing but itself. Skipped where there is no Chromium.
use strict;
use warnings;
use FindBin;
use IPC::Run ();
use JSON::PP;
use lib $FindBin::RealBin;
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($browser) = grep { -x } map { my $dir = $_; map { "$dir/$_" } qw(chromium chromium-browser google-chrome) } split /:/, $ENV{PATH};
plan skip_all => 'no Chromium' unless $browser;

my $node   = start_server('report');
my $folder = PostgreSQL::Test::Utils::tempdir();
$ENV{HOME} = $folder;

$node->safe_psql('postgres', <<'SQL');
SET client_min_messages = warning;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'machines', starts => '{start}', stops => '{stop}', unit => '7 hours', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-01');
SELECT meter.create_meter('cloud', 'traffic', aggregate => 'sum', dimensions => '{region,kind,a-dimension-with-a-name-that-is-longer-than-most}', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-01');
INSERT INTO cloud.event ("time", resource, account, action, offering)
	SELECT timestamptz '2024-03-01' + i * interval '7 hours 13 min', 'vm-' || i, 'acme', 'start', 'size ' || i % 3 FROM generate_series(1, 60) i
	UNION ALL SELECT '2024-03-02', repeat('0123456789abcdef', 8), 'acme', 'start', repeat('W', 100)
	UNION ALL SELECT '2024-03-02', '<script>document.title = "broken in"</script>', 'acme', 'start', '<img src="x" onerror="document.title = 1">'
	UNION ALL SELECT '2024-03-02', U&'\05E9\05DC\05D5\05DD', 'acme', 'start', U&'\202E\0623\0628';
INSERT INTO cloud.measure (start_time, end_time, resource, account, value, attributes)
	SELECT timestamptz '2024-03-01' + i * interval '1 hour', timestamptz '2024-03-01' + (i + 1) * interval '1 hour', 'ip-' || i % 4, 'acme', 10.000001 ^ (i % 20),
		'{"region": "north", "kind": "out", "a-dimension-with-a-name-that-is-longer-than-most": "yes"}'::jsonb FROM generate_series(0, 480) i
	UNION ALL SELECT '2024-03-02', '2024-03-02', 'ip-long', 'acme', repeat('9', 90)::numeric, NULL
	UNION ALL SELECT '2024-03-03', '2024-03-03', 'ip-less', 'acme', -5, NULL;
SET meter.now = '2024-03-20 14:30';
CALL meter.run('cloud');
INSERT INTO cloud.event (source, id, "time", resource, action) VALUES ('geneva', 'stop-of-vm-60', '2024-03-19 10:30', 'vm-60', 'stop');
SET meter.now = '2024-03-20 15:30';
CALL meter.run('cloud');
SQL
is($node->safe_psql('postgres', q{SELECT count(*) FROM meter.verify('cloud')}), '0', 'the ledger is right');

# As the documentation says to write it.
my ($out, $err);
IPC::Run::run([ 'psql', '-AtX', '-o', "$folder/report.html", '-d', $node->connstr('postgres'), '-c', q{SET meter.now = '2024-03-20 15:50'},
		'-c', q{SELECT meter.report_html('cloud', 'acme', '[2024-02-29 23:00, 2024-03-31 22:00)')} ], '<', \undef, '>', \$out, '2>', \$err);
my $page = slurp_file("$folder/report.html");
$page =~ s/^SET\n//;
append_to_file("$folder/only.html", $page);
like($page, qr/^<!DOCTYPE html>/, 'psql writes the page');

# --- what the browser makes of it


# What it prints; the file's URL comes last.
sub browse
{
	my ($file, @flags) = @_;
	my ($stdout, $stderr);
	IPC::Run::run([ $browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions', '--hide-scrollbars',
			"--user-data-dir=$folder/profile", '--enable-logging=stderr', '--virtual-time-budget=5000', @flags, "file://$folder/$file" ],
		'<', \undef, '>', \$stdout, '2>', \$stderr, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return ($stdout, $stderr);
}

my ($dom, $log) = browse('only.html', '--dump-dom');
my @complaints = grep { /CONSOLE/ } split /\n/, $log;
is(join("\n", @complaints), '', 'the browser complains of nothing');
like($dom, qr{<h1><bdi>acme</bdi></h1>}, 'it shows the account');
like($dom, qr{<title>Usage of acme, 2024-03-01 00:00 to 2024-04-01 00:00</title>}, 'no name has run as a script');
is(() = $dom =~ /<(?:script|img|link|iframe|object)\b/g, 0, 'the page loads nothing');

# A copy may run a script of the test, in a frame as wide as a window: it tells what does not fit.
my $probe = <<'JS';
<script>
window.addEventListener('load', function () {
	var wide = [], small = [], unnamed = 0, root = document.documentElement;
	document.querySelectorAll('details').forEach(function (e) { e.open = true; });
	document.querySelectorAll('body *:not(defs *)').forEach(function (e) {
		var box = e.getBoundingClientRect();
		if (box.width > 1 && (box.right > innerWidth + 0.5 || box.left < -0.5)) wide.push(e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40));
		if (e.textContent && !e.children.length && !(e instanceof SVGElement) && parseFloat(getComputedStyle(e).fontSize) < 12) small.push(e.tagName);
	});
	document.querySelectorAll('svg[role=img]').forEach(function (e) { if (!e.querySelector('title') || !e.querySelector('desc')) unnamed++; });
	var bars = Array.from(document.querySelectorAll('.days svg rect.settled')).map(function (e) { return e.getBoundingClientRect(); });
	var open = document.querySelector('.days svg rect.open');
	parent.postMessage({ width: innerWidth, scroll: root.scrollWidth, wide: wide.slice(0, 5), small: small.slice(0, 5), unnamed: unnamed,
		bars: bars.length, lowest: Math.min.apply(null, bars.map(function (b) { return Math.round(b.height * 10) / 10; })),
		open: open && getComputedStyle(open).fill, settled: getComputedStyle(document.querySelector('rect.settled')).fill,
		headings: Array.from(document.querySelectorAll('h2')).map(function (e) { return e.textContent; }) }, '*');
});
</script>
JS
(my $copy = $page) =~ s{<meta http-equiv="Content-Security-Policy"[^>]*/>}{} or die 'there is no policy';
$copy =~ s{</body>}{$probe</body>};
append_to_file("$folder/copy.html", $copy);

sub facts
{
	my ($width) = @_;
	append_to_file("$folder/frame$width.html", <<HTML);
<!DOCTYPE html><html><body style="margin:0"><pre id="facts"></pre>
<script>addEventListener('message', function (e) { document.getElementById('facts').textContent = JSON.stringify(e.data); });</script>
<iframe src="copy.html" style="border:0;width:${width}px;height:20000px"></iframe></body></html>
HTML
	my ($stdout) = browse("frame$width.html", '--dump-dom', '--window-size=1200,800');
	my ($json) = $stdout =~ m{<pre id="facts">(.*?)</pre>}s;
	$json =~ s/&lt;/</g;
	$json =~ s/&gt;/>/g;
	$json =~ s/&amp;/&/g;
	return JSON::PP->new->decode($json || '{}');
}

foreach my $width (320, 360, 600, 1000)
{
	my $facts = facts($width);
	is($facts->{width},  $width, "$width: the frame is as wide as that");
	is($facts->{scroll}, $width, "$width: nothing scrolls sideways");
	is_deeply($facts->{wide},  [], "$width: nothing sticks out");
	is_deeply($facts->{small}, [], "$width: no letters smaller than 12 pixels");
	is($facts->{unnamed}, 0, "$width: each picture has a name and a description");
	cmp_ok($facts->{bars}, '>=', 20, "$width: days have bars");
	cmp_ok($facts->{lowest}, '>', 0, "$width: that can be seen");
	like($facts->{open}, qr/^url\(/, "$width: what is not settled is striped");
	like($facts->{settled}, qr/^rgb\(/, "$width: what is settled is not");
	is(join(', ', @{ $facts->{headings} }), 'Totals, Not settled yet, Day by day, Resources, Adjustments', "$width: all parts are there");
}

# On paper, and as a picture.
browse('only.html', "--print-to-pdf=$folder/report.pdf");
my $pdf = -e "$folder/report.pdf" ? slurp_file("$folder/report.pdf") : '';
like($pdf, qr/^%PDF-/, 'it prints');
my $sheets = () = $pdf =~ m{/Type\s*/Page\b}g;
cmp_ok($sheets, '>=', 2, "on $sheets sheets");
browse('only.html', "--screenshot=$folder/report.png", '--window-size=500,1200');
cmp_ok(-s "$folder/report.png" // 0, '>', 10000, 'a picture can be made of it');

# --- colours


# The contrast of two colours, as WCAG reckons it.
sub luminance
{
	my @channels = map { $_ / 255 } map { hex } $_[0] =~ /^#(..)(..)(..)$/ ? ($1, $2, $3) : map { "$_$_" } $_[0] =~ /[0-9a-f]/g;
	my ($r, $g, $b) = map { $_ <= 0.04045 ? $_ / 12.92 : (($_ + 0.055) / 1.055)**2.4 } @channels;
	return 0.2126 * $r + 0.7152 * $g + 0.0722 * $b;
}

sub contrast
{
	my ($lighter, $darker) = sort { $b <=> $a } map { luminance($_) } @_;
	return ($lighter + 0.05) / ($darker + 0.05);
}

my @schemes = $page =~ /:root\{([^}]*--ink[^}]*)\}/g;
is(scalar @schemes, 3, 'colours for light, dark and paper');
foreach my $i (0 .. $#schemes)
{
	my %colour = $schemes[$i] =~ /--(\w+):(#[0-9a-f]+)/g;
	foreach my $paper (qw(page tint))
	{
		cmp_ok(contrast($colour{$_}, $colour{$paper}), '>=', 4.5, "scheme $i: $_ on $paper can be read") foreach qw(ink soft);
		cmp_ok(contrast($colour{bar}, $colour{$paper}), '>=', 3, "scheme $i: bars on $paper can be seen");
	}
}

done_testing();
