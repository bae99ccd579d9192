-- How each meter is doing, for its owner and for monitoring.

CREATE FUNCTION meter_internal.late_backlog(stream text, meter text)
RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_late_backlog';
COMMENT ON FUNCTION meter_internal.late_backlog(text, text) IS
'rows of settled periods that arrived but have not been looked at yet; null for who may not know';

CREATE FUNCTION meter_internal.held_rows(stream text, meter text)
RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_held_rows';
COMMENT ON FUNCTION meter_internal.held_rows(text, text) IS
'rows that came later than a meter''s max_lateness and wait for meter.release; null for who may not know';

CREATE FUNCTION meter_internal.quarantined_resources(stream text, meter text)
RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_quarantined_resources';
COMMENT ON FUNCTION meter_internal.quarantined_resources(text, text) IS
'resources that are set aside for a meter until meter.release_resource; null for who may not know';

CREATE FUNCTION meter_internal.rejected_rows(stream text)
RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_rejected_rows';
COMMENT ON FUNCTION meter_internal.rejected_rows(text) IS
'rows of the table rejected of a stream; null for who may not know';

CREATE FUNCTION meter_internal.ledger_bytes_per_day(stream text, meter text)
RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_ledger_bytes_per_day';
COMMENT ON FUNCTION meter_internal.ledger_bytes_per_day(text, text) IS
'about how many bytes the usage rows take that a meter wrote within a day before now; null for who may not know, and until the ledger was vacuumed or analyzed';

CREATE FUNCTION meter_internal.settlement_recorded_at(stream text, meter text, settlement bigint)
RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_settlement_recorded_at';
COMMENT ON FUNCTION meter_internal.settlement_recorded_at(text, text, bigint) IS
'when a settlement was recorded; null for who may not know, and where there is none';

CREATE FUNCTION meter_internal.why_no_usage(stream text, meter text)
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_why_no_usage';
COMMENT ON FUNCTION meter_internal.why_no_usage(text, text) IS
'why a meter that was never settled has no usage; null for who may not know';

CREATE FUNCTION meter_internal.problems(stream text)
RETURNS text[]
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_problems';
COMMENT ON FUNCTION meter_internal.problems(text) IS
'what is wrong with the tables of a stream: columns, tables that are unlogged, guards that are missing or disabled, indexes that are missing or invalid; null: nothing';

CREATE FUNCTION meter_internal.clock_now()
RETURNS timestamptz
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'meter_clock_now';
COMMENT ON FUNCTION meter_internal.clock_now() IS
'what time it is for meter: the start of the transaction, or in tests what the setting meter.now says';

CREATE FUNCTION meter_internal.step_rows(halvings integer)
RETURNS integer
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_rows_of_step';
COMMENT ON FUNCTION meter_internal.step_rows(integer) IS
'about how many rows a step takes whose size was halved so often: a part of meter.batch_rows, at least 1';

CREATE VIEW meter.status WITH (security_barrier) AS
SELECT m.stream,
       m.name AS meter,
       CASE WHEN a.name IS NULL THEN 'not active: meter.resume() checks and activates the stream'
            WHEN m.paused THEN 'paused until meter.resume()'
            WHEN m.last_error IS NOT NULL THEN 'the last step failed'
            WHEN m.watermark OPERATOR(pg_catalog.>) c.now THEN 'the watermark lies in the future'
            WHEN m.settlement OPERATOR(pg_catalog.=) 0 THEN meter_internal.why_no_usage(m.stream, m.name)
            ELSE 'settled'
       END AS state,
       a.name IS NOT NULL AS active,
       m.paused,
       m.watermark,
       CASE WHEN m.watermark IS NOT NULL THEN pg_catalog.justify_hours(c.now OPERATOR(pg_catalog.-) m.watermark) END AS lag,
       EXTRACT(epoch FROM c.now OPERATOR(pg_catalog.-) m.watermark)::bigint AS lag_seconds,
       CASE WHEN NOT m.paused AND a.name IS NOT NULL AND m.clock OPERATOR(pg_catalog.<>) 'event'
                 AND (m.until IS NULL OR m.watermark OPERATOR(pg_catalog.<) m.until)
            THEN EXTRACT(epoch FROM c.now OPERATOR(pg_catalog.-) m.watermark OPERATOR(pg_catalog.-) m.lateness)::bigint
                 OPERATOR(pg_catalog.-) ((EXTRACT(year FROM m.period) OPERATOR(pg_catalog.*) 31622400)
                     OPERATOR(pg_catalog.+) (EXTRACT(month FROM m.period) OPERATOR(pg_catalog.*) 2678400)
                     OPERATOR(pg_catalog.+) (EXTRACT(day FROM m.period) OPERATOR(pg_catalog.*) 90000)
                     OPERATOR(pg_catalog.+) (EXTRACT(hour FROM m.period) OPERATOR(pg_catalog.*) 3600)
                     OPERATOR(pg_catalog.+) (EXTRACT(minute FROM m.period) OPERATOR(pg_catalog.*) 60)
                     OPERATOR(pg_catalog.+) EXTRACT(second FROM m.period))::bigint
       END AS overdue_seconds,
       COALESCE(m.watermark OPERATOR(pg_catalog.>) c.now, false) AS watermark_in_future,
       CASE WHEN p.noted_at IS NOT NULL THEN LEAST(m.watermark,
           meter_internal.later_by(p.noted_at, (EXTRACT(epoch FROM m.max_lateness) OPERATOR(pg_catalog.*) (-1000000))::bigint))
       END AS final_until,
       meter_internal.late_backlog(m.stream, m.name) AS late_backlog,
       meter_internal.held_rows(m.stream, m.name) AS held,
       meter_internal.quarantined_resources(m.stream, m.name) AS quarantined,
       meter_internal.rejected_rows(m.stream) AS rejected,
       p."position",
       m.settlement,
       m.settled_at,
       meter_internal.ledger_bytes_per_day(m.stream, m.name) AS ledger_bytes_per_day,
       (SELECT pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) meter_internal.settlement_recorded_at(m.stream, m.name,
                   pg_catalog.min(COALESCE(u.settlement, 0) OPERATOR(pg_catalog.+) CASE WHEN u.transaction_id IS NULL THEN 1 ELSE 0 END))
        FROM meter.consumer AS k
        LEFT JOIN meter.consumer_position AS u ON u.stream OPERATOR(pg_catalog.=) k.stream
            AND u.consumer OPERATOR(pg_catalog.=) k.name AND u.meter OPERATOR(pg_catalog.=) m.name
        WHERE k.stream OPERATOR(pg_catalog.=) m.stream
          AND (k.meters IS NULL OR m.name OPERATOR(pg_catalog.=) ANY (k.meters))) AS consumer_lag,
       (SELECT pg_catalog.count(*) FROM meter.segment AS g
        WHERE g.stream OPERATOR(pg_catalog.=) m.stream AND g.sealed_at IS NULL
          AND EXISTS (SELECT FROM meter.segment AS n WHERE n.stream OPERATOR(pg_catalog.=) g.stream
                      AND n.log OPERATOR(pg_catalog.=) g.log AND n.segment OPERATOR(pg_catalog.>) g.segment)) AS unsealed_segments,
       m.failures,
       m.last_error,
       m.last_error_context,
       m.last_error_at,
       m.retry_at,
       meter_internal.step_rows(m.halvings) AS step_rows,
       b.blocked_by,
       h.held_back_by,
       h.idle_sources,
       t.maintenance_error,
       t.maintenance_retry_at,
       NULLIF(CASE WHEN m.watermark OPERATOR(pg_catalog.>) c.now
                   THEN ARRAY[pg_catalog.format('the watermark lies in the future, %s after now',
                                  pg_catalog.justify_hours(m.watermark OPERATOR(pg_catalog.-) c.now))]
                   ELSE '{}' END OPERATOR(pg_catalog.||) COALESCE(meter_internal.problems(m.stream), '{}'), '{}') AS problems
FROM meter.meter AS m
CROSS JOIN (SELECT meter_internal.clock_now() AS now) AS c
LEFT JOIN meter.stream AS t ON t.name OPERATOR(pg_catalog.=) m.stream
LEFT JOIN meter.active_stream AS a ON a.name OPERATOR(pg_catalog.=) m.stream
    AND meter_internal.is_home(a.database, a.system, a.version, a.backup)
LEFT JOIN LATERAL (
    SELECT pg_catalog.max(w."position") FILTER (WHERE w.log OPERATOR(pg_catalog.=) 'event') AS "position",
           pg_catalog.bool_or(w.note_bound IS NOT NULL AND w.note_writers OPERATOR(pg_catalog.<>) '{}') AS noted,
           -- of a log of which nothing is held yet, or not of all, anything may change
           CASE WHEN pg_catalog.bool_and(w.position_watermark IS NOT NULL AND w."position" OPERATOR(pg_catalog.>=) w.held_after)
                     AND m.watermark IS NOT NULL AND m.max_lateness IS NOT NULL
                THEN pg_catalog.min(w.position_watermark) END AS noted_at
    FROM meter.log_progress AS w
    WHERE w.stream OPERATOR(pg_catalog.=) m.stream AND w.meter OPERATOR(pg_catalog.=) m.name
) AS p ON true
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(DISTINCT pg_catalog.format('%s, %s, since %s',
               COALESCE('pid ' OPERATOR(pg_catalog.||) l.pid::text, pg_catalog.format('prepared transaction "%s"', p.gid)),
               COALESCE(s.usename, p.owner, 'unknown user'),
               COALESCE(COALESCE(s.xact_start, p.prepared)::text, 'unknown time'))) AS blocked_by
    FROM pg_catalog.pg_locks AS l
    LEFT JOIN pg_catalog.pg_stat_activity AS s ON s.pid OPERATOR(pg_catalog.=) l.pid
    LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON l.pid IS NULL AND p.transaction OPERATOR(pg_catalog.=) l.transactionid
    WHERE EXISTS (SELECT FROM meter.log_progress AS w
                  WHERE w.stream OPERATOR(pg_catalog.=) m.stream AND w.meter OPERATOR(pg_catalog.=) m.name
                    AND l.virtualtransaction OPERATOR(pg_catalog.=) ANY (w.note_writers))
      AND (l.pid IS NOT NULL OR p.gid IS NOT NULL)
) AS b ON p.noted
LEFT JOIN LATERAL (
    SELECT COALESCE((pg_catalog.array_agg(pg_catalog.format('%s, %s', s.source, s.place) ORDER BY s.clock NULLS FIRST, s.source)
                        FILTER (WHERE NOT s.idle))[1],
                    CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 THEN 'no source was heard of yet' ELSE 'all sources are idle' END) AS held_back_by,
           pg_catalog.array_agg(pg_catalog.format('%s, %s, silent since %s', s.source, s.place, s.heard_at)
               ORDER BY s.source) FILTER (WHERE s.idle) AS idle_sources
    FROM (SELECT s.source, s.clock, s.heard_at, COALESCE('at ' OPERATOR(pg_catalog.||) s.clock::text, 'not heard yet') AS place,
                 COALESCE((meter_internal.clock_now() OPERATOR(pg_catalog.-) s.heard_at) OPERATOR(pg_catalog.>) s.idle_limit, false) AS idle
          FROM meter.source AS s WHERE s.stream OPERATOR(pg_catalog.=) m.stream) AS s
) AS h ON m.clock OPERATOR(pg_catalog.=) 'source'
WHERE meter_internal.has_access(m.stream, 'analyst')
   OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
   OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW meter.status IS
'a row a meter: how far it is settled, and what stands in the way; for the stream''s owner and its analysts and operators, and for members of pg_monitor and of pg_read_all_stats';
COMMENT ON COLUMN meter.status.stream IS 'the stream that the meter belongs to';
COMMENT ON COLUMN meter.status.meter IS 'the meter';
COMMENT ON COLUMN meter.status.state IS 'in words: settled, or why there is no usage yet (no event counted yet, first period open until some time), or why nothing is settled (not active, paused, failed, a watermark in the future)';
COMMENT ON COLUMN meter.status.active IS 'the stream is worked on; false after a restore, until meter.resume';
COMMENT ON COLUMN meter.status.paused IS 'no steps are made of it until meter.resume(stream, meter)';
COMMENT ON COLUMN meter.status.watermark IS 'every period that ends at or before it is settled; null until the first event is seen';
COMMENT ON COLUMN meter.status.lag IS 'time between the watermark and now';
COMMENT ON COLUMN meter.status.lag_seconds IS 'the same in whole seconds, negative for a watermark in the future';
COMMENT ON COLUMN meter.status.overdue_seconds IS 'by how many seconds the lag exceeds a period and lateness: what is above a few naptimes should be settled and is not; negative: the period is open; a day counts as 25 hours and a month as 31 days, since such may come; null: nothing is due (not active, paused, settled up to until, no watermark yet), or nobody can say (clock event)';
COMMENT ON COLUMN meter.status.watermark_in_future IS 'the clock of the server was ahead, or a person went too far: meter.rewind() takes the watermark back';
COMMENT ON COLUMN meter.status.final_until IS 'no period that ends at or before it changes any more without a person (meter.release, meter.resettle and the like): max_lateness before the watermark of when the log was last read to its end, since rows that came after that are held if they are older; but observations of snapshots, the first name of an account, and voids, which reach a deduplication window back, still change what is before it; null: max_lateness is null, or the log was not read to its end yet';
COMMENT ON COLUMN meter.status.late_backlog IS 'rows of settled periods that have not been looked at yet; this column and those that count tables of the stream are null where a table is locked for more than a second, or is not as meter made it';
COMMENT ON COLUMN meter.status.held IS 'rows that came too late and wait for meter.release or meter.discard';
COMMENT ON COLUMN meter.status.quarantined IS 'resources that could not be computed and are set aside until meter.release_resource';
COMMENT ON COLUMN meter.status.rejected IS 'rows of the stream''s table rejected: what an inbox could not log; of the whole stream, the same for each of its meters';
COMMENT ON COLUMN meter.status."position" IS 'arrivals of the event log up to it have been looked at for late rows';
COMMENT ON COLUMN meter.status.settlement IS 'number of the last settle that wrote usage; without gaps, in the order of commits';
COMMENT ON COLUMN meter.status.settled_at IS 'when that was';
COMMENT ON COLUMN meter.status.ledger_bytes_per_day IS 'about how many bytes the usage rows take that were written within a day before now: their number, from the stream''s table settlement, times the mean size of a row of the ledger with its index entries, as VACUUM or ANALYZE has found it last; null until one of these has looked at the ledger';
COMMENT ON COLUMN meter.status.consumer_lag IS 'how long ago the first settlement of the meter was recorded that a consumer has not finished: the age of what the consumer that is farthest behind has to read; null: there is none; meter.consumer_status names it';
COMMENT ON COLUMN meter.status.unsealed_segments IS 'segments of the stream''s logs that take no writes any more and are not sealed yet; of the whole stream';
COMMENT ON COLUMN meter.status.failures IS 'steps that failed since the last one that did not';
COMMENT ON COLUMN meter.status.last_error IS 'why the last of them failed; null after a step that did not';
COMMENT ON COLUMN meter.status.last_error_context IS 'in which stage of the step that was, and in what function of the owner''s';
COMMENT ON COLUMN meter.status.last_error_at IS 'when that was';
COMMENT ON COLUMN meter.status.retry_at IS 'workers leave the meter alone until then';
COMMENT ON COLUMN meter.status.step_rows IS 'about how many rows the next step takes: meter.batch_rows, and less after errors of the environment';
COMMENT ON COLUMN meter.status.held_back_by IS 'for clock source: the source whose clock is the least, and where that is, or that there is none';
COMMENT ON COLUMN meter.status.idle_sources IS 'for clock source: sources that were silent for longer than their idle limit and hold nothing back';
COMMENT ON COLUMN meter.status.maintenance_error IS 'why the segments of the stream could not be rolled or sealed; null once they could';
COMMENT ON COLUMN meter.status.maintenance_retry_at IS 'workers leave the segments of the stream alone until then';
COMMENT ON COLUMN meter.status.problems IS 'what must not be: a watermark in the future, tables that are not as meter made them; null: nothing';
COMMENT ON COLUMN meter.status.blocked_by IS 'the transactions that late rows wait for: they may have drawn an arrival and not committed it';
