-- A timeline drawn.

CREATE FUNCTION meter.chart(timeline meter.timeline, during tstzrange, width integer DEFAULT 60) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_timeline_chart';
COMMENT ON FUNCTION meter.chart(meter.timeline, tstzrange, integer) IS
'a timeline as a line of characters, each an equal part of a window: # active all of it, + a part of it, . none of it
timeline: of the resource
during: the window
width: how many characters, 1 to 1000
raises 22023 for a window without both ends, or shorter than a microsecond for each character';
