-- Where things are, in one line. What a period got after it was first settled is an adjustment.
SELECT to_char((SELECT count(*) FROM cloud.event), '999,999,999')
    || to_char((SELECT min(watermark) FROM meter.status), '     YYYY-MM-DD HH24:MI')
    || to_char(coalesce(sum(n), 0), ' 999,999,999')
    || to_char(coalesce(sum(n) FILTER (WHERE settlement > first), 0), ' 999,999,999')
FROM (SELECT settlement, count(*) AS n, min(settlement) OVER (PARTITION BY meter, period_start) AS first
      FROM cloud.usage GROUP BY meter, period_start, settlement) AS settled;
