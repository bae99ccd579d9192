-- A trace's totals against those of the file TRUTH, which another program counted from the same rows. It counts the
-- runs that ended: what the ledger has of a run that goes on is the time from its start to the watermark.
\set QUIET on
\pset footer off
\set truth `cat "$TRUTH"`

CREATE TEMP TABLE ended AS
SELECT account, resource, sum(seconds) AS seconds, bool_or(goes_on) AS goes_on
FROM (SELECT account, resource, quantity, false FROM cloud.usage WHERE meter = 'task'
      UNION ALL
      SELECT s.account, s.resource, -extract(epoch FROM m.watermark - s.since), true
      FROM cloud._resource_state AS s JOIN meter.meter AS m ON m.stream = 'cloud' AND m.name = s.meter
      WHERE s.meter = 'task' AND s.active) AS part (account, resource, seconds, goes_on)
GROUP BY account, resource;

WITH truth AS (SELECT :'truth'::jsonb AS t),
compared (n, what, counted, metered) AS (
    SELECT 1, 'events', (t -> 'rows')::numeric, (SELECT count(*) FROM cloud.event WHERE action <> 'end') FROM truth
    UNION ALL
    SELECT 2, 'tasks that go on at the end', (t -> 'open_at_end')::numeric, (SELECT count(*) FROM ended WHERE goes_on) FROM truth
    UNION ALL
    SELECT 3, 'seconds of all runs that ended', (t -> 'total_seconds')::numeric, (SELECT sum(seconds) FROM ended) FROM truth
    UNION ALL
    SELECT 4, 'of account ' || left(account ->> 0, 10) || '...', (account -> 1)::numeric,
           (SELECT sum(seconds) FROM ended WHERE ended.account = top.account ->> 0)
    FROM truth, jsonb_array_elements(t -> 'per_account_top20_seconds') WITH ORDINALITY AS top (account, rank) WHERE rank <= 5
    UNION ALL
    SELECT 5, 'of task ' || (task ->> 0), (task -> 1)::numeric,
           (SELECT sum(seconds) FROM ended WHERE ended.resource = top.task ->> 0)
    FROM truth, jsonb_array_elements(t -> 'per_resource_top20_seconds') WITH ORDINALITY AS top (task, rank) WHERE rank <= 5)
SELECT what, trim_scale(counted) AS counted, trim_scale(metered) AS metered, metered = counted AS same FROM compared ORDER BY n, counted DESC;
