-- how far the meters are, in words
SELECT meter, state, watermark, lag FROM meter.status;
-- who used most
SELECT account, meter, sum(quantity) FROM account_usage GROUP BY account, meter ORDER BY sum(quantity) DESC LIMIT 10;
-- what is settled and what is still open, hour by hour
SELECT * FROM current_usage ORDER BY period_start DESC, resource LIMIT 10;
-- where a row of the ledger comes from: here an adjustment
SELECT * FROM meter.explain('cloud', (SELECT transaction_id FROM usage WHERE revision > 0 LIMIT 1));
-- what was odd
SELECT class, meter, count(*) FROM anomaly GROUP BY class, meter ORDER BY count(*) DESC;
-- what the last step did, and how long it took
SELECT * FROM meter.status AS s, meter.last_step(s.stream, s.meter) LIMIT 4;
