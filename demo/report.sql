-- What came out. Variables: meter, of durations; weighted, another one; resource, the one to look at.
\set QUIET on
\pset footer off
\pset null ''

-- Names as long as a hash need not fill the screen.
CREATE FUNCTION pg_temp.short(name text) RETURNS text LANGUAGE sql
RETURN CASE WHEN length(name) > 20 THEN left(name, 12) || '...' ELSE name END;

-- The ledger, with hours, and with what corrects a period that was settled before.
CREATE TEMP TABLE ledger AS
SELECT u.*, quantity * extract(epoch FROM unit) / 3600 AS hours, u.settlement > first AS adjustment
FROM cloud.usage AS u
JOIN meter.meter AS m ON m.stream = 'cloud' AND m.name = u.meter
JOIN (SELECT meter, period_start, min(settlement) AS first FROM cloud.usage GROUP BY meter, period_start) AS settled
    USING (meter, period_start);

\echo == events in, usage rows out
SELECT to_char(count(*), '999,999,999') AS "events in", to_char(count(DISTINCT resource), '9,999,999') AS resources,
       to_char(count(DISTINCT account), '999,999') AS accounts,
       to_char(min("time"), 'YYYY-MM-DD HH24:MI') AS "from", to_char(max("time"), 'YYYY-MM-DD HH24:MI') AS "to"
FROM cloud.event;

SELECT meter, to_char(count(*), '999,999,999') AS "usage rows", to_char(sum(hours), '999,999,990.00') AS hours,
       to_char(count(*) FILTER (WHERE adjustment), '999,999,999') AS adjustments,
       to_char(sum(hours) FILTER (WHERE adjustment), '999,999,990.00') AS "adjusted hours",
       to_char(max(settlement), '999,999') AS settlements
FROM ledger GROUP BY meter ORDER BY meter DESC;

\echo == the ten biggest accounts: hours of each meter
SELECT pg_temp.short(account) AS account,
       to_char(count(DISTINCT resource), '9,999,999') AS resources,
       to_char(sum(hours) FILTER (WHERE meter = :'meter'), '99,999,990.00') AS :"meter",
       to_char(sum(hours) FILTER (WHERE meter = :'weighted'), '99,999,990.00') AS :"weighted"
FROM ledger GROUP BY account
ORDER BY sum(hours) FILTER (WHERE meter = :'meter') DESC NULLS LAST, account LIMIT 10;

\echo == one resource, :resource
\echo Its events, in the order in which they arrived:
SELECT arrival, to_char("time", 'DD HH24:MI:SS') AS "time", action, pg_temp.short(account) AS account, offering
FROM cloud.event WHERE resource = :'resource' ORDER BY arrival;

\echo Its timeline, whatever that order:
SELECT to_char(lower(during), 'DD HH24:MI:SS') AS "from", to_char(upper(during), 'DD HH24:MI:SS') AS "to",
       upper(during) - lower(during) AS ran, label AS "account, offering"
FROM (SELECT meter.timeline("time", CASE WHEN action = ANY (starts) THEN true WHEN action = ANY (stops) THEN false END,
                            concat_ws(', ', pg_temp.short(account), offering)) AS runs
      FROM cloud.event, meter.meter AS m
      WHERE m.stream = 'cloud' AND m.name = :'meter' AND action = ANY (starts || stops || changes) AND resource = :'resource') AS t,
     meter.spans(runs)
ORDER BY 1;

SELECT CASE unit WHEN '1 minute' THEN 'minutes begun' WHEN '1 second' THEN 'seconds' END AS units FROM meter.meter
WHERE stream = 'cloud' AND name = :'meter' \gset
\echo Its bill, hour by hour, in :units:
SELECT coalesce(to_char(period_start, 'DD HH24:MI'), 'total') AS hour, pg_temp.short(account) AS account,
       dimensions ->> 'offering' AS offering,
       trim_scale(sum(quantity) FILTER (WHERE NOT adjustment)) AS "first billed",
       trim_scale(sum(quantity) FILTER (WHERE adjustment)) AS adjusted, trim_scale(sum(quantity)) AS owed
FROM ledger WHERE meter = :'meter' AND resource = :'resource'
GROUP BY GROUPING SETS ((period_start, account, dimensions), ()) ORDER BY period_start, account, offering;

SELECT EXISTS (SELECT FROM ledger WHERE meter = :'meter' AND resource = :'resource' AND adjustment) AS adjusted \gset
\if :adjusted
\echo A message came when its hours were settled. A row of the ledger is never changed: each of these hours got one more,
\echo the difference between what it should be and what the ledger said.
SELECT to_char(period_start, 'DD HH24:MI') AS hour, revision, quantity, settlement, transaction_id
FROM ledger AS l WHERE meter = :'meter' AND resource = :'resource'
    AND EXISTS (SELECT FROM ledger AS a WHERE (a.meter, a.resource, a.period_start) = (l.meter, l.resource, l.period_start) AND a.adjustment)
ORDER BY period_start, settlement;
\endif
