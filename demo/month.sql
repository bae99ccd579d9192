-- What came of the month. Variables of the generator: end, outage_from, outage_region; and month, its folder.
\set QUIET on
\pset footer off
\pset null ''

\echo == the bill: the five biggest accounts, in hours
SELECT account, count(DISTINCT resource) AS machines,
       to_char(sum(quantity) FILTER (WHERE meter = 'vm') / 60, '999,990.00') AS "VM hours",
       to_char(sum(quantity) FILTER (WHERE meter = 'vcpu'), '999,990.00') AS "vCPU hours"
FROM cloud.usage GROUP BY account ORDER BY sum(quantity) FILTER (WHERE meter = 'vm') DESC LIMIT 5;

\echo == the bill of harbor, by offering
SELECT dimensions ->> 'offering' AS offering, to_char(sum(quantity) / 60, '999,990.00') AS "VM hours"
FROM cloud.account_usage WHERE meter = 'vm' AND account = 'harbor' GROUP BY 1 ORDER BY 1;

\echo == a timeline: geneva-shop-1, two days before yesterday, a third of an hour each sign
SELECT to_char(day, 'Dy DD Mon') AS day, meter.chart(line, tstzrange(day, day + interval '1 day'), 72)
FROM (SELECT meter.timeline("time", CASE WHEN action IN ('create', 'start') THEN true WHEN action IN ('stop', 'delete') THEN false END) AS line,
             date_trunc('day', min("time")) AS first FROM cloud.event WHERE resource = 'geneva-shop-1') AS t,
     generate_series(first, first + interval '1 day', '1 day') AS day;

\echo == one line explained: an adjustment of geneva-shop-1, whose stop at 20:20 was told the day after
SELECT part, to_char("time", 'DD HH24:MI:SS') AS "time", action, quantity, CASE WHEN length(explanation) > 57 THEN left(explanation, 56) || '…' ELSE explanation END AS explanation
FROM (SELECT transaction_id FROM cloud.usage WHERE meter = 'vm' AND resource = 'geneva-shop-1' AND revision > 0
      ORDER BY period_start LIMIT 1) AS u, meter.explain('cloud', u.transaction_id);

\echo == an outage repaired: hours of the machines old-1 to new-5 on the day on which messages were lost
SELECT to_char(sum(b.quantity) / 60, '990.00') AS "before the snapshot", to_char(sum(u.quantity) / 60, '990.00') AS "after it"
FROM (SELECT sum(quantity) AS quantity FROM demo.before_repair) AS b,
     (SELECT sum(quantity) AS quantity FROM cloud.usage WHERE meter = 'vm' AND resource ~ '-(old|new)-'
      AND period_start >= date_trunc('day', :'outage_from'::timestamptz) AND period_start < date_trunc('day', :'outage_from'::timestamptz) + interval '1 day') AS u;
