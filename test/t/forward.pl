# Promise: demo/forward.py loses no row and doubles none, on a network that cuts connections before, within and after a request, to an endpoint
# that answers 503 at times, while the program is killed, and the server restarted. A request that the endpoint refuses stops it, and nothing is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use MeterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'python3 is not installed' if system('python3 -c "import http.server" 2>/dev/null') != 0;
my $seed    = seed();
my $root    = "$FindBin::RealBin/../..";
my $node    = start_server('forward');
my $results = $node->basedir . '/received';
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE received (transaction_id uuid, account text, quantity numeric, times int);
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-01Z');
SELECT meter.create_consumer('cloud', 'invoices', from_start => true);
SQL

# Starts the endpoint; returns it and its address.
sub endpoint
{
	my ($out, $err) = ('', '');
	my $endpoint = IPC::Run::start([ 'python3', "$root/test/endpoint.py", $seed, $results ], '>', \$out, '2>', \$err);
	$endpoint->pump until $out =~ /\n/;
	return ($endpoint, "http://127.0.0.1:" . ($out + 0));
}

sub log_day
{
	my ($day) = @_;
	return $node->safe_psql('postgres', <<"SQL");
INSERT INTO cloud.event ("time", resource, account, action)
SELECT timestamptz '2024-03-0${day}Z' + n * interval '1 minute', 'vm' || n % 50, 'a' || n % 7, CASE n / 50 % 2 WHEN 0 THEN 'start' ELSE 'stop' END FROM generate_series(0, 999) n;
SET meter.now = '2024-03-0$day 23:00Z';
CALL meter.run('cloud');
SQL
}

local $ENV{PGHOST}     = $node->host;
local $ENV{PGPORT}     = $node->port;
local $ENV{PGDATABASE} = 'postgres';
log_day(1);
my ($endpoint, $url) = endpoint();
my @forward = ('python3', "$root/demo/forward.py", '--batch', '120', '--retry', '0.02', 'cloud', 'invoices');

# It runs on while there is more to settle, and is killed from time to time.
foreach my $day (2 .. 4)
{
	my $forward = IPC::Run::start([ @forward, '--every', '0.1', $url ], '>', \my $out, '2>', \my $err);
	usleep(1_500_000);
	log_day($day);
	usleep(500_000);
	if ($day == 3)
	{
		$node->stop('immediate');
		usleep(300_000);
		ok($forward->pump_nb, 'the program waits for a server that is away');
		$node->start;
		usleep(500_000);
	}
	$forward->signal('KILL');
	eval { $forward->finish };
}
my ($out, $err);
ok(IPC::Run::run([ @forward, '--once', $url ], '>', \$out, '2>', \$err), 'it goes on where it was killed, to the end') or diag($err);
$endpoint->signal('TERM');
$endpoint->finish;
$node->safe_psql('postgres', "COPY received FROM '$results'");
is($node->safe_psql('postgres', 'SELECT count(*) > 2000 FROM cloud.usage'), 't', 'there was something to forward');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT transaction_id, account, quantity FROM cloud.usage EXCEPT ALL SELECT transaction_id, account, quantity FROM received) q'), '0', 'nothing is lost');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT transaction_id, account, quantity FROM received EXCEPT ALL SELECT transaction_id, account, quantity FROM cloud.usage) q'), '0', 'nothing is doubled');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM received WHERE times > 1'), '>', 0, 'rows came again whose answer was lost');
is($node->safe_psql('postgres', 'SELECT rows FROM meter.consumer_status'), '0', 'the consumer has nothing left');

# What the endpoint refuses stays where it is.
log_day(5);
my ($port, $noise) = ('', '');
my $refusing = IPC::Run::start([ 'python3', '-c', <<'PYTHON' ], '>', \$port, '2>', \$noise);
import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(404)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.handle_request()
PYTHON
$refusing->pump until $port =~ /\n/;
ok(!IPC::Run::run([ @forward, '--once', 'http://127.0.0.1:' . ($port + 0) ], '>', \$out, '2>', \$err), 'a request that is refused stops it');
like($err, qr/refused batch \d+: 404/, 'and it says so');
$refusing->kill_kill;
is($node->safe_psql('postgres', 'SELECT rows > 0 AND batch IS NOT NULL FROM meter.consumer_status'), 't', 'the batch is open');
$node->stop;
done_testing();
