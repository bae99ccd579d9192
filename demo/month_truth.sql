-- Where the bill is not what the generator has reckoned without meter: account, offering and hour of each machine.
CREATE SCHEMA IF NOT EXISTS demo;
CREATE TABLE demo.truth (resource text, account text, offering text, period_start timestamptz, ran int, known int, vcpu_seconds numeric);
\copy demo.truth FROM PSTDIN (FORMAT csv)
CREATE VIEW demo.difference AS
SELECT 'vm' AS meter, resource, account, offering, period_start, q AS ledger, known::numeric AS truth
FROM (SELECT resource, account, dimensions ->> 'offering' AS offering, period_start, sum(quantity) AS q
      FROM cloud.usage WHERE meter = 'vm' GROUP BY 1, 2, 3, 4) AS l
FULL JOIN demo.truth USING (resource, account, offering, period_start) WHERE coalesce(q, 0) <> coalesce(known, 0)
UNION ALL
SELECT 'vcpu', resource, account, NULL, period_start, q, t
FROM (SELECT resource, account, period_start, sum(quantity) AS q FROM cloud.usage WHERE meter = 'vcpu' GROUP BY 1, 2, 3) AS l
FULL JOIN (SELECT resource, account, period_start, round(sum(vcpu_seconds) / 3600, 12) AS t FROM demo.truth GROUP BY 1, 2, 3) AS t
    USING (resource, account, period_start) WHERE coalesce(q, 0) <> coalesce(t, 0);
