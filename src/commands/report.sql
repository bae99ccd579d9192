-- An account's usage, to look at and to print.

CREATE FUNCTION meter.report_html(stream text, account text, during tstzrange)
RETURNS text
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_report_html';
COMMENT ON FUNCTION meter.report_html(text, text, tstzrange) IS
'usage of an account, as a page of HTML that needs nothing else: totals by meter and dimensions, which are the sums of account_usage; the days of each meter as a chart and a table; when each resource had usage; adjustments with their reasons; and apart what is not settled yet; for psql -AtX -o; reads the stream''s tables as the caller: what the caller may not see is left out, and the page says so
account: whose usage
during: periods that begin in this range count; it has both ends and is at most 400 days long
raises 42704 if there is no such stream, 22004 for null, 22023 for another during, 54000 for a page of more than 500 MB, 42501 for those who may not select from account_usage';
