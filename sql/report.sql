-- Promise: meter.report_html shows what the ledger has of an account, to the last digit, whatever names say, and apart from it what is not settled.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;

-- page(): a report as XML, which it must be. all_of(): what a path finds in it, as text. sum_of(): the numbers there, added up.
CREATE FUNCTION pg_temp.page(account text, during tstzrange, stream text DEFAULT 'report_cloud') RETURNS xml LANGUAGE sql AS $$
	SELECT xmlparse(DOCUMENT meter.report_html(stream, account, during))
$$;
CREATE FUNCTION pg_temp.all_of(page xml, path text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT x::text FROM unnest(xpath(path, page, '{{h,http://www.w3.org/1999/xhtml},{s,http://www.w3.org/2000/svg}}')) x
$$;
CREATE FUNCTION pg_temp.sum_of(page xml, path text) RETURNS numeric LANGUAGE sql AS $$
	SELECT coalesce(sum(x::numeric), 0) FROM pg_temp.all_of(page, path || '/@value') x
$$;

SELECT meter.create_stream('report_cloud');
SELECT meter.create_meter('report_cloud', 'vm', starts => '{start}', stops => '{stop}', unit => '7 minutes', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-01');
SELECT meter.create_meter('report_cloud', 'memory', aggregate => 'weighted', starts => '{start}', stops => '{stop}', unit => '1 hour', dimensions => '{offering,region}', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-01');
SELECT meter.create_meter('report_cloud', 'traffic', aggregate => 'sum', dimensions => '{}', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-01');
INSERT INTO report_cloud.event ("time", resource, account, action, offering, value, attributes)
	SELECT timestamptz '2024-03-05' + i * interval '73 minutes', 'vm-' || i, 'acme', 'start', (ARRAY['small','large'])[1 + i % 2], 2 + i % 3, CASE WHEN i % 3 > 0 THEN jsonb_build_object('region', 'r' || i % 3) END FROM generate_series(1, 40) i;
INSERT INTO report_cloud.event ("time", resource, action)
	SELECT timestamptz '2024-03-05' + i * interval '91 minutes' + interval '3 hours', 'vm-' || i, 'stop' FROM generate_series(1, 35) i;
INSERT INTO report_cloud.measure (start_time, end_time, resource, account, value)
	SELECT timestamptz '2024-03-05' + i * interval '1 hour', timestamptz '2024-03-05' + (i + 2) * interval '1 hour', 'ip-' || i % 3, 'acme', i * 123456789.125 FROM generate_series(0, 60) i;
SET meter.now = '2024-03-08 10:20';
CALL meter.run('report_cloud');
-- Late: a stop, and a measure; a stop that its void takes back again adjusts twice.
INSERT INTO report_cloud.event (source, id, "time", resource, action) VALUES ('geneva', 'e<1>', '2024-03-07 10:30', 'vm-36', 'stop');
INSERT INTO report_cloud.measure (source, id, start_time, end_time, resource, account, value) VALUES ('router', 'm-1', '2024-03-05 10:00', '2024-03-05 10:30', 'ip-1', 'acme', -1000.0625);
SET meter.now = '2024-03-08 12:40';
CALL meter.run('report_cloud');
SELECT * FROM meter.verify('report_cloud');

-- The head of the page.
CREATE TEMP TABLE p AS SELECT pg_temp.page('acme', '[2024-03-04 23:00, 2024-03-31 22:00)') AS page;
SELECT pg_temp.all_of(page, '//h:title/text() | //h:h1//text() | //h:header//h:dd//text() | //h:p[@id="state"]//text()') FROM p;
SELECT pg_temp.all_of(page, '//h:html/@lang | //h:meta/@content') FROM p;
-- It is ASCII, and asks for nothing.
SELECT page::text ~ '[^\x01-\x7e]', count(*) FILTER (WHERE x IS NOT NULL) FROM p LEFT JOIN LATERAL pg_temp.all_of(page, '//h:script | //h:link | //h:img | //@src | //@href') x ON true GROUP BY 1;

-- Totals are the sums of the ledger and of its totals: each by meter and dimensions, and all of each meter that has several.
SELECT x FROM p, pg_temp.all_of(page, '//h:section[@id="totals"]//h:th[@scope="rowgroup"]//text()') x;
WITH shown AS (SELECT x::numeric AS quantity FROM p, pg_temp.all_of(page, '//h:section[@id="totals"]//h:data/@value') x),
sums AS (SELECT meter, dimensions, sum(quantity) AS quantity FROM report_cloud.usage WHERE account = 'acme' GROUP BY 1, 2),
want AS (SELECT quantity FROM sums UNION ALL SELECT sum(quantity) FROM sums GROUP BY meter HAVING count(*) > 1)
SELECT (SELECT count(*) FROM shown), (SELECT count(*) FROM (TABLE shown EXCEPT ALL TABLE want) x) AS too_much, (SELECT count(*) FROM (TABLE want EXCEPT ALL TABLE shown) x) AS missing;
SELECT pg_temp.sum_of(page, '//h:section[@id="totals"]//h:tr[not(@class="all")]/h:td/h:data') = (SELECT sum(quantity) FROM report_cloud.usage)
	AND (SELECT sum(quantity) FROM report_cloud.usage) = (SELECT sum(quantity) FROM report_cloud.account_usage) FROM p;
SELECT x FROM p, pg_temp.all_of(page, '//h:section[@id="totals"]//h:tbody[3]//h:data/@value | //h:section[@id="totals"]//h:tbody[3]//h:data//text()') x;
-- What is not settled is what live usage says, stands elsewhere, and is called so.
SELECT pg_temp.sum_of(page, '//h:section[@id="open"]//h:tr[not(@class="all")]/h:td/h:data') = (SELECT sum(quantity) FROM meter.live_usage('report_cloud', 'acme') WHERE NOT settled) FROM p;
SELECT x FROM p, pg_temp.all_of(page, '//h:section[@id="open"]/h:h2/text() | //h:section[@id="open"]//h:caption/text()') x;
-- Days: of a zone that is an hour ahead, as tables that add up to the totals, and as bars.
SELECT i AS figure, (SELECT string_agg(x, ' ') FROM pg_temp.all_of(page, format('//h:figure[%s]/h:figcaption//text()', i)) x) AS caption,
	pg_temp.sum_of(page, format('//h:figure[%s]//h:td[1]/h:data', i)) = pg_temp.sum_of(page, format('//h:section[@id="totals"]//h:tbody[%s]/h:tr[not(@class="all")]/h:td/h:data', i)) AS settled,
	pg_temp.sum_of(page, format('//h:figure[%s]//h:td[2]/h:data', i)) = coalesce((SELECT sum(quantity) FROM meter.live_usage('report_cloud', 'acme') l WHERE NOT settled AND l.meter = (ARRAY['memory', 'traffic', 'vm'])[i]), 0) AS open,
	(SELECT count(*) FROM pg_temp.all_of(page, format('//h:figure[%s]//s:rect', i))) AS bars, (SELECT count(*) FROM pg_temp.all_of(page, format('//h:figure[%s]//s:rect[@class="open"]', i))) AS striped
FROM p, generate_series(1, 3) i;
SELECT d.day, d.quantity = sum(u.quantity) AS same FROM p, xmltable(XMLNAMESPACES('http://www.w3.org/1999/xhtml' AS h), '//h:figure[3]//h:tbody/h:tr' PASSING page COLUMNS day text PATH 'h:th', quantity numeric PATH 'h:td[1]/h:data/@value') d
	LEFT JOIN report_cloud.usage u ON u.meter = 'vm' AND (u.period_start AT TIME ZONE 'Europe/Zurich')::date = d.day::date GROUP BY d.day, d.quantity ORDER BY 1;
-- Resources: those with the most, and the rest as one row; together they are the totals.
SELECT i AS meter, (SELECT count(*) FROM pg_temp.all_of(page, format('(//h:div[@class="runs"])[%s]//h:tbody/h:tr', i))) AS rows,
	(SELECT x FROM pg_temp.all_of(page, format('(//h:div[@class="runs"])[%s]//h:tr[contains(@class, "more")]/h:th/text()', i)) x) AS more,
	pg_temp.sum_of(page, format('(//h:div[@class="runs"])[%s]//h:td/h:data', i)) = (SELECT sum(quantity) FROM report_cloud.usage WHERE meter = (ARRAY['memory', 'traffic', 'vm'])[i]) AS settled,
	pg_temp.sum_of(page, format('(//h:div[@class="runs"])[%s]//h:td/h:div/h:data', i)) =
	coalesce((SELECT sum(quantity) FROM meter.live_usage('report_cloud', 'acme') l WHERE NOT settled AND l.meter = (ARRAY['memory', 'traffic', 'vm'])[i]), 0) AS open
FROM p, generate_series(1, 3) i;
SELECT r.* FROM p, xmltable(XMLNAMESPACES('http://www.w3.org/1999/xhtml' AS h, 'http://www.w3.org/2000/svg' AS s), '(//h:div[@class="runs"])[3]//h:tbody/h:tr' PASSING page
	COLUMNS resource text PATH 'h:th', "when" text PATH 'h:td[1]/h:small', settled numeric PATH 'h:td[2]/h:data/@value', open numeric PATH 'h:td[2]/h:div/h:data/@value', bars text PATH 'count(.//s:rect)') r;
-- Every picture has a name and a description; every table a caption and headings with a scope.
SELECT count(*) FILTER (WHERE x LIKE '%<title%<desc%'), count(*) FROM p, pg_temp.all_of(page, '//s:svg[@role="img"]') x;
SELECT pg_temp.all_of(page, '//h:table[not(h:caption)] | //h:th[not(@scope)] | //s:svg[not(@role="img") and not(@aria-hidden="true")]') FROM p;
-- Adjustments: what changed, and why.
SELECT pg_temp.all_of(page, '//h:ol/h:li/h:p[1]/h:span/h:data/@value') FROM p;
SELECT string_agg(x, '' ORDER BY n) FROM p, pg_temp.all_of(page, '//h:ol/h:li/h:p[1]//text() | //h:ol/h:li/h:ul//text()') WITH ORDINALITY a (x, n);
SELECT pg_temp.sum_of(page, '//h:ol/h:li/h:p[1]/h:span/h:data') = (SELECT sum(quantity) FROM report_cloud.usage WHERE revision > 0) FROM p;

-- A period before is settled, and has what begins in it, no more.
SELECT pg_temp.all_of(page, '//h:p[@id="state"]//text()'), pg_temp.sum_of(page, '//h:section[@id="totals"]//h:tr[not(@class="all")]/h:td/h:data') =
	(SELECT sum(quantity) FROM report_cloud.account_usage WHERE period_start >= '2024-03-06' AND period_start < '2024-03-07') FROM (SELECT pg_temp.page('acme', '[2024-03-06, 2024-03-07)') AS page) p;
-- What has no end yet; and nothing at all.
SELECT pg_temp.all_of(page, '//h:section/@id | //h:section[@id="totals"]/h:p/text()') FROM (SELECT pg_temp.page('acme', '[2024-03-08 12:00, 2024-03-09)') AS page) p;
SELECT pg_temp.all_of(page, '//h:h1//text() | //h:main/* | //h:p[@id="state"]//text() | //h:dd[3]/text()') FROM (SELECT pg_temp.page('stranger', '[2024-03-08 12:00, 2024-03-09)') AS page) p;

-- Names are names, and nothing else: of accounts, resources, sources, dimensions.
INSERT INTO report_cloud.event (source, id, "time", resource, account, action, offering, value, attributes) VALUES
	(E'"\'&<s>', E'\x01\x02', '2024-03-08 12:00', '<script>alert(1)</script>', E'</title><script>x</script>&amp;"\'\x07', 'start', E'<b>&\'"', 1, jsonb_build_object('region', E'\u202Eabc\u2069\u05D0\uFFFE\u0085\U0001F600' || chr(55295)));
SET meter.now = '2024-03-08 14:10';
CALL meter.run('report_cloud');
INSERT INTO report_cloud.event (source, id, "time", resource, action) VALUES (E'"\'&<s>', E'\n\t\u200F', '2024-03-08 12:50', '<script>alert(1)</script>', 'stop');
SET meter.now = '2024-03-08 15:10';
CALL meter.run('report_cloud');
CREATE TEMP TABLE q AS SELECT pg_temp.page(E'</title><script>x</script>&amp;"\'\x07', '[2024-03-08, 2024-03-09)') AS page;
SELECT count(*) FROM q, pg_temp.all_of(page, '//h:script | //h:s | //h:b[not(parent::h:figcaption)]');
SELECT page::text ~ '[^\x01-\x7e]' FROM q;
SELECT DISTINCT x COLLATE "C" FROM q, pg_temp.all_of(page, '//h:bdi/text() | //h:title/text() | //s:title/text()') x ORDER BY 1;

-- Of many adjustments the latest are shown; of many resources, those with the most.
INSERT INTO report_cloud.event ("time", resource, account, action, offering) SELECT '2024-03-08 14:00', 'many-' || i, 'many', 'start', 'small' FROM generate_series(1, 27) i;
SET meter.now = '2024-03-08 16:10';
CALL meter.run('report_cloud');
INSERT INTO report_cloud.event ("time", resource, action) SELECT timestamptz '2024-03-08 15:00' + i * interval '1 min', 'many-' || i, 'stop' FROM generate_series(1, 27) i;
CALL meter.run('report_cloud');
SELECT (SELECT count(*) FROM pg_temp.all_of(page, '//h:ol/h:li')) AS adjustments, pg_temp.all_of(page, '//h:p[@id="more-adjustments"]/text() | //h:tr[contains(@class, "more")]/h:th/text()'),
	pg_temp.sum_of(page, '//h:section[@id="totals"]//h:tr[not(@class="all")]/h:td/h:data') = (SELECT sum(quantity) FROM report_cloud.usage WHERE account = 'many') AS totals,
	pg_temp.sum_of(page, '//h:section[@id="resources"]//h:td/h:data') = (SELECT sum(quantity) FROM report_cloud.usage WHERE account = 'many') AS resources
FROM (SELECT pg_temp.page('many', '[2024-03-08, 2024-03-09)') AS page) p;

-- Another meter of another zone: the page is in UTC. One that is gone leaves what it settled.
SELECT meter.create_meter('report_cloud', 'began', aggregate => 'runs', starts => '{start}', stops => '{stop}', timezone => 'America/New_York', period => '1 day', lateness => '0', since => '2024-03-05 05:00');
CALL meter.run('report_cloud');
SELECT meter.drop_meter('report_cloud', 'began');
SELECT pg_temp.all_of(page, '//h:dd[3]/text()'), pg_temp.all_of(page, '//h:section[@id="totals"]//h:tbody[1]//h:th[@scope="rowgroup"]//text() | //h:figure[1]//h:tbody//h:th/h:time/text() | //h:figure[1]//h:td[1]/h:data/@value') FROM (SELECT pg_temp.page('acme', '[2024-03-05, 2024-03-09)') AS page) p;

-- Who may read totals gets totals; the page says what is missing. Row security leaves out what it hides.
CREATE ROLE regress_report_reader;
GRANT USAGE ON SCHEMA report_cloud TO regress_report_reader;
SET ROLE regress_report_reader;
SELECT meter.report_html('report_cloud', 'acme', '[2024-03-05, 2024-03-09)');
RESET ROLE;
GRANT SELECT ON report_cloud.account_usage TO regress_report_reader;
SET ROLE regress_report_reader;
SELECT pg_temp.all_of(page, '//h:section/@id | //h:p[@id="without-open" or @id="without-rows"]/text()') FROM (SELECT pg_temp.page('acme', '[2024-03-05, 2024-03-09)') AS page) p;
RESET ROLE;
GRANT SELECT ON report_cloud.usage, report_cloud.current_usage TO regress_report_reader;
SET ROLE regress_report_reader;
SELECT pg_temp.all_of(page, '//h:section/@id | //h:ol/h:li[1]/h:ul//text()') FROM (SELECT pg_temp.page('acme', '[2024-03-05, 2024-03-09)') AS page) p;
RESET ROLE;
ALTER TABLE report_cloud.account_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE report_cloud.usage ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON report_cloud.account_usage TO regress_report_reader USING (account = 'acme' AND meter = 'vm');
CREATE POLICY own ON report_cloud.usage TO regress_report_reader USING (account = 'acme' AND meter = 'traffic');
SET ROLE regress_report_reader;
SELECT pg_temp.all_of(page, '//h:section[@id="totals"]//h:th[@scope="rowgroup"]/h:bdi/text()'), pg_temp.sum_of(page, '//h:section[@id="totals"]//h:tr[@class="all"]/h:td/h:data') FROM (SELECT pg_temp.page('acme', '[2024-03-05, 2024-03-08)') AS page) p;
SELECT pg_temp.all_of(page, '//h:main/*') FROM (SELECT pg_temp.page('zoe', '[2024-03-05, 2024-03-08)') AS page) p;
RESET ROLE;
SELECT sum(quantity) FROM report_cloud.account_usage WHERE account = 'acme' AND meter = 'vm' AND period_start >= '2024-03-05' AND period_start < '2024-03-08';
ALTER TABLE report_cloud.account_usage DISABLE ROW LEVEL SECURITY;
ALTER TABLE report_cloud.usage DISABLE ROW LEVEL SECURITY;
DROP POLICY own ON report_cloud.account_usage;
DROP POLICY own ON report_cloud.usage;

-- An owner's code does not run as a superuser who asks: here a constraint that the planner computes.
CREATE ROLE regress_report_owner;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_report_owner', current_database()); END $$;
SET ROLE regress_report_owner;
SELECT meter.create_stream('report_owned');
CREATE FUNCTION report_owned.who(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING '% as %', $1, current_user; RETURN true; END $$;
SELECT meter.create_meter('report_owned', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05');
INSERT INTO report_owned.event ("time", resource, account, action) VALUES ('2024-03-05', 'vm-1', 'acme', 'start');
CALL meter.run('report_owned');
ALTER TABLE report_owned.account_usage ADD CONSTRAINT odd CHECK (account <> 'odd' OR report_owned.who('computed'));
RESET ROLE;
SELECT length(meter.report_html('report_owned', 'acme', '[2024-03-05, 2024-03-06)')) > 1000 AS page;
SELECT meter.drop_stream('report_owned', true);
DROP OWNED BY regress_report_owner;
DROP ROLE regress_report_owner;

-- What cannot be asked for.
SELECT meter.report_html('report_nowhere', 'acme', '[2024-03-05, 2024-03-06)');
SELECT meter.report_html(NULL, 'acme', '[2024-03-05, 2024-03-06)');
SELECT meter.report_html('report_cloud', NULL, '[2024-03-05, 2024-03-06)');
SELECT meter.report_html('report_cloud', 'acme', NULL);
SELECT meter.report_html('report_cloud', 'acme', 'empty');
SELECT meter.report_html('report_cloud', 'acme', '[2024-03-05,)');
SELECT meter.report_html('report_cloud', 'acme', '(,2024-03-05)');
SELECT meter.report_html('report_cloud', 'acme', '[-infinity,2024-03-05)');
SELECT meter.report_html('report_cloud', 'acme', '[2024-01-01, 2025-03-01)');
SELECT length(meter.report_html('report_cloud', 'acme', '[1969-01-01, 1970-01-01)')) > 1000 AS long_ago;

SELECT * FROM meter.verify('report_cloud');
SELECT meter.drop_stream('report_cloud', true);
DROP OWNED BY regress_report_reader;
DROP ROLE regress_report_reader;
