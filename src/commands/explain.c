/*
 * explain.c
 *	  meter.explain(): why a usage row is what it is.
 *
 * The resource is folded anew up to the end of the row's period, and each stage
 * is shown: the rows of the log that count, what is made of them, and what the
 * ledger has.  The fold puts what it finds into lists; queries put these into
 * words.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "catalog/access.h"
#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "core/core.h"
#include "core/event_set.h"
#include "core/grid.h"
#include "core/rounding.h"
#include "core/timeline_builder.h"
#include "engine/asking.h"
#include "engine/duplicates.h"
#include "engine/events.h"
#include "engine/fold.h"
#include "engine/ledger.h"
#include "engine/measure_fold.h"
#include "engine/measure_walk.h"
#include "engine/places.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/usage_kind.h"
#include "engine/usage_rows.h"
#include "pg/attr.h"
#include "pg/quantity.h"
#include "pg/shard.h"
#include "pg/spi.h"

/*
 * What the ledger says of the usage row in question, and the settlement that it is
 * of.
 */
typedef struct Row
{
	char	   *uuid;
	char	   *meter;
	char	   *account;
	char	   *resource;
	char	   *dimensions;
	TimestampTz period_start;
	int64		settlement;
	bool		settled_again;	/* the period had been settled before: what is
								 * below is known */
	TimestampTz watermark_before;
	int64		position_before[METER_NLOGS];
	int64		position[METER_NLOGS];
} Row;

/*
 * Return a query for the usage row: of the accounts that the caller may see (a
 * literal; NULL: all).
 */
static char *
row_query(const char *stream, const char *uuid, const char *own)
{
	return psprintf("SELECT meter, account, resource, dimensions::text, period_start, settlement "
					"FROM %s.usage WHERE transaction_id = '%s'%s",
					quote_identifier(stream), uuid, own == NULL ? "" :
					psprintf(" AND account = ANY (%s)", own));
}

/* Raise that there is no such row. */
static void
no_row(const char *stream, const char *uuid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" has no usage row \"%s\"", stream, uuid)));
}

/* Look up the usage row; raises an error if there is none. */
static void
find_row(const char *stream, const char *own, Row *row)
{
	MemoryContext context = CurrentMemoryContext;
	MeterSession session;
	bool		isnull;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(row_query(stream, row->uuid, own), SPI_OK_SELECT);
	if (SPI_processed == 0)
		no_row(stream, row->uuid);
	row->period_start = DatumGetTimestampTz(meter_result(0, 5, &isnull));
	row->settlement = DatumGetInt64(meter_result(0, 6, &isnull));
	MemoryContextSwitchTo(context);
	row->meter = meter_result_text(0, 1);
	row->account = meter_result_text(0, 2);
	row->resource = meter_result_text(0, 3);
	row->dimensions = meter_result_text(0, 4);
	meter_session_end(&session);
}

/*
 * Look up what the settlement of the row looked at, if it settled what had been
 * settled before: up to the end of the row's period.
 */
static void
find_settlement(const char *stream, TimestampTz end, Row *row)
{
	MeterSession session;
	bool		isnull;

	meter_session_begin(&session, meter_stream_owner(stream));
	meter_execute(psprintf("SELECT watermark_before, position_before, \"position\", "
						   "coalesce(measure_position_before, 0), coalesce(measure_position, 0) FROM %s.settlement "
						   "WHERE meter = %s AND settlement = " INT64_FORMAT " AND watermark_before >= %s",
						   quote_identifier(stream), quote_literal_cstr(row->meter),
						   row->settlement, meter_timestamp_literal(end)),
				  SPI_OK_SELECT);
	row->settled_again = SPI_processed > 0;
	if (row->settled_again)
	{
		row->watermark_before = DatumGetTimestampTz(meter_result(0, 1, &isnull));
		row->position_before[METER_LOG_EVENT] = DatumGetInt64(meter_result(0, 2, &isnull));
		row->position[METER_LOG_EVENT] = DatumGetInt64(meter_result(0, 3, &isnull));
		row->position_before[METER_LOG_MEASURE] = DatumGetInt64(meter_result(0, 4, &isnull));
		row->position[METER_LOG_MEASURE] = DatumGetInt64(meter_result(0, 5, &isnull));
	}
	meter_session_end(&session);
}

/* What is explained, and what the fold finds. */
typedef struct Explained
{
	MemoryContext context;
	Row			row;
	TimestampTz end;			/* of its period */
	Datum		dimensions;		/* of its key, jsonb */
	MeterPlaces places[METER_NLOGS];	/* where the resource's rows are */
	Numeric		total;			/* what the key should have */
	MeterRows	events;			/* kind, at, account, value, said, arrival */
	MeterRows	spans;			/* of runs, gaps or rounded; begin, end,
								 * account, dimensions, value */
	MeterRows	marks;			/* at, account, dimensions, value, amount */
	MeterRows	ignored;		/* starts after an end: at, sequence */
	MeterRows	parts;			/* of measures: arrival, start, end, payer,
								 * dimensions, what, begin, end, quantity,
								 * value, label */
	TimestampTz first_end;		/* of these measures */
	TimestampTz last_end;
	MeterRows	readings;		/* of a counter: arrival, counted, before,
								 * before_time, added, passed_over */

	/* the measure that is being walked */
	const TupleTableSlot *measure;
} Explained;

/* Make the lists. */
static void
make_lists(Explained *explained)
{
	static const char *const event_names[] = {"kind", "at", "account", "value", "observation", "arrival"};
	static const Oid event_types[] = {CHAROID, TIMESTAMPTZOID, TEXTOID, NUMERICOID, JSONBOID, INT8OID};
	static const char *const span_names[] = {"kind", "span_begin", "span_end", "account", "dimensions", "value"};
	static const Oid span_types[] = {CHAROID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, NUMERICOID};
	static const char *const mark_names[] = {"at", "account", "dimensions", "value", "amount"};
	static const Oid mark_types[] = {TIMESTAMPTZOID, TEXTOID, JSONBOID, NUMERICOID, INT8OID};
	static const char *const ignored_names[] = {"at", "sequence"};
	static const Oid ignored_types[] = {TIMESTAMPTZOID, INT8OID};
	static const char *const part_names[] = {"arrival", "start_time", "end_time", "payer", "dimensions", "what", "part_begin", "part_end", "quantity", "value", "label"};
	static const Oid part_types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, NUMERICOID, NUMERICOID, TEXTOID};

	static const char *const reading_names[] = {"arrival", "counted", "before", "before_time", "added", "passed_over"};
	static const Oid reading_types[] = {INT8OID, INT4OID, NUMERICOID, TIMESTAMPTZOID, NUMERICOID, BOOLOID};

	explained->first_end = DT_NOEND;
	explained->last_end = DT_NOBEGIN;
	meter_begin_rows(&explained->events, "found_events", lengthof(event_types), event_names, event_types);
	meter_begin_rows(&explained->spans, "found_spans", lengthof(span_types), span_names, span_types);
	meter_begin_rows(&explained->marks, "found_marks", lengthof(mark_types), mark_names, mark_types);
	meter_begin_rows(&explained->ignored, "found_ignored", lengthof(ignored_types), ignored_names, ignored_types);
	meter_begin_rows(&explained->parts, "found_parts", lengthof(part_types), part_names, part_types);
	meter_begin_rows(&explained->readings, "found_readings", lengthof(reading_types), reading_names, reading_types);
}

/* --- what the fold finds -------------------------------------------------- */

/* Note a row of a log. */
static void
look_at_row(MeterFold *fold, MeterRowKind kind, TimestampTz time,
			const TupleTableSlot *slot)
{
	Explained  *explained = fold->look_arg;
	Datum		values[6];
	bool		nulls[6] = {false, false, false, false, false, false};

	if (kind == METER_ROW_MEASURE)
	{
		explained->measure = slot;
		return;
	}
	values[0] = CharGetDatum(kind);
	/* that of a carried state that does not run is not known */
	values[1] = TimestampTzGetDatum(time);
	nulls[1] = slot->tts_isnull[METER_FOLD_TIME];
	values[2] = slot->tts_values[METER_FOLD_ACCOUNT];
	nulls[2] = slot->tts_isnull[METER_FOLD_ACCOUNT];
	values[3] = slot->tts_values[METER_FOLD_VALUE];
	nulls[3] = slot->tts_isnull[METER_FOLD_VALUE];
	values[4] = slot->tts_values[METER_FOLD_SAID];
	nulls[4] = slot->tts_isnull[METER_FOLD_SAID];
	values[5] = slot->tts_values[METER_FOLD_ARRIVAL];
	nulls[5] = slot->tts_isnull[METER_FOLD_ARRIVAL];
	meter_add_row(&explained->events, values, nulls);
}

/* The kinds of spans that are noted. */
#define SPAN_OF_RUN		'r'
#define SPAN_GAP		'g'
#define SPAN_ROUNDED	'b'

/* Set account, dimensions and value as a label has them. */
static void
set_label(MeterFold *fold, const MeterTimeline *timeline, int32 key,
		  MeterAttr value, Datum *values, bool *nulls)
{
	const MeterAttr *attrs = timeline->keys + (size_t) key * timeline->natts;

	values[0] = meter_text_from_attr(attrs[0]);
	values[1] = meter_usage_dimensions(fold->spec, attrs + 1);
	nulls[2] = MeterAttrIsNull(value);
	values[2] = nulls[2] ? (Datum) 0 :
		NumericGetDatum(meter_numeric_from_attr(value));
}

/* Note spans that meet the time up to the end of the period. */
static void
note_spans(MeterFold *fold, const MeterTimeline *timeline, char kind,
		   const MeterSpan *spans, int32 count, bool keyed_by_key)
{
	Explained  *explained = fold->look_arg;
	int32		i;

	for (i = 0; i < count; i++)
	{
		const MeterSpan *span = &spans[i];
		Datum		values[6];
		bool		nulls[6] = {false, false, false, false, false, false};

		CHECK_FOR_INTERRUPTS();
		if (span->begin >= explained->end ||
			(kind == SPAN_ROUNDED && span->end <= explained->row.period_start))
			continue;
		values[0] = CharGetDatum(kind);
		values[1] = TimestampTzGetDatum(span->begin);
		values[2] = TimestampTzGetDatum(span->end);
		set_label(fold, timeline, keyed_by_key ? span->label :
				  timeline->labels[span->label].key,
				  keyed_by_key ? METER_NULL_ATTR :
				  meter_timeline_value(timeline, span->label),
				  values + 3, nulls + 3);
		meter_add_row(&explained->spans, values, nulls);
	}
}

/* Note what is billed at instants of the period. */
static void
note_marks(MeterFold *fold, const MeterTimeline *timeline)
{
	Explained  *explained = fold->look_arg;
	int32		i;

	for (i = 0; i < timeline->nmarks; i++)
	{
		const MeterMark *mark = &timeline->marks[i];
		Datum		values[5];
		bool		nulls[5] = {false, false, false, false, false};

		CHECK_FOR_INTERRUPTS();
		if (mark->time < explained->row.period_start ||
			mark->time >= explained->end)
			continue;
		values[0] = TimestampTzGetDatum(mark->time);
		set_label(fold, timeline, timeline->labels[mark->label].key,
				  fold->spec->aggregate == METER_WEIGHTED ?
				  meter_timeline_value(timeline, mark->label) : METER_NULL_ATTR,
				  values + 1, nulls + 1);
		values[4] = Int64GetDatum(mark->amount);
		meter_add_row(&explained->marks, values, nulls);
	}
}

/* Note the starts that were ignored. */
static void
note_ignored(Explained *explained, const MeterEvents *events)
{
	int32		i;

	for (i = 0; i < events->nevents; i++)
	{
		const MeterEvent *event = &events->events[i];
		Datum		values[2];
		bool		nulls[2] = {false, !event->sequenced};

		CHECK_FOR_INTERRUPTS();
		if (event->kind != METER_IGNORED)
			continue;
		values[0] = TimestampTzGetDatum(event->time);
		values[1] = Int64GetDatum(event->sequence);
		meter_add_row(&explained->ignored, values, nulls);
	}
}

/* Note the timeline. */
static void
look_at_timeline(MeterFold *fold, MeterCollected *collected,
				 MeterTimeline *timeline)
{
	bool		keyed_by_key = fold->spec->aggregate != METER_WEIGHTED;
	MeterRounded rounded;

	note_spans(fold, timeline, SPAN_OF_RUN, timeline->spans, timeline->nspans,
			   false);
	note_spans(fold, timeline, SPAN_GAP, timeline->gaps, timeline->ngaps, false);
	note_marks(fold, timeline);
	note_ignored(fold->look_arg, &collected->events);
	if (fold->spec->runs.counts)
		return;
	meter_round(&rounded, timeline, keyed_by_key ? METER_KEYED_BY_KEY :
				METER_KEYED_BY_LABEL, fold->spec->rounding, &fold->spec->grid,
				METER_END);
	note_spans(fold, timeline, SPAN_ROUNDED, rounded.spans, rounded.nspans,
			   keyed_by_key);
}

/* Note the part of a measure. */
static void
look_at_part(void *arg, MeterMeasurePart what, TimestampTz begin,
			 TimestampTz end, MeterAttr payer, Numeric quantity)
{
	MeterFold  *fold = arg;
	Explained  *explained = fold->look_arg;
	const TupleTableSlot *slot = explained->measure;
	MeterAttr	dimensions[METER_MAX_DIMENSIONS];
	Datum		values[11];
	bool		nulls[11] = {false, false, false, false, false, false, false, false, false, false, false};
	int			i;

	for (i = 0; i < fold->definition->ndimensions; i++)
		dimensions[i] = meter_fold_text(slot, fold->first_dimension + i);
	values[0] = slot->tts_values[METER_FOLD_ARRIVAL];
	values[1] = slot->tts_values[METER_FOLD_ABSENT];
	values[2] = slot->tts_values[METER_FOLD_ALIVE];
	explained->first_end = Min(explained->first_end, DatumGetTimestampTz(values[2]));
	explained->last_end = Max(explained->last_end, DatumGetTimestampTz(values[2]));
	values[3] = meter_text_from_attr(payer);
	values[4] = meter_usage_dimensions(fold->spec, dimensions);
	values[5] = Int32GetDatum(what);
	values[6] = TimestampTzGetDatum(begin);
	values[7] = TimestampTzGetDatum(end);
	nulls[8] = quantity == NULL;
	values[8] = NumericGetDatum(quantity);
	nulls[9] = slot->tts_isnull[METER_FOLD_VALUE];
	values[9] = slot->tts_values[METER_FOLD_VALUE];
	/* what unique counts are texts */
	nulls[10] = slot->tts_isnull[METER_FOLD_SOURCE];
	values[10] = slot->tts_values[METER_FOLD_SOURCE];
	meter_add_row(&explained->parts, values, nulls);
}

/* Note what became of a reading of a counter. */
static void
look_at_reading(void *arg, const MeterMeasureCounted *counted)
{
	MeterFold  *fold = arg;
	Explained  *explained = fold->look_arg;
	Datum		values[6];
	bool		nulls[6] = {false, false, false, false, false, false};

	values[0] = Int64GetDatum(counted->arrival);
	values[1] = Int32GetDatum(counted->counted);
	nulls[2] = nulls[3] = counted->before->value == NULL;
	values[2] = NumericGetDatum(counted->before->value);
	values[3] = TimestampTzGetDatum(counted->before->time);
	nulls[4] = counted->added == NULL;
	values[4] = NumericGetDatum(counted->added);
	values[5] = BoolGetDatum(MeterIsPassedOver(counted->counted));
	meter_add_row(&explained->readings, values, nulls);
}

/* Note what the key should have. */
static void
take_usage(MeterFold *fold, const MeterUsageRow *row)
{
	Explained  *explained = fold->look_arg;

	if (row->period_start == explained->row.period_start &&
		meter_attr_equal(row->account, meter_attr_from_cstring(explained->row.account)) &&
		DatumGetBool(DirectFunctionCall2(jsonb_eq, row->dimensions,
										 explained->dimensions)))
	{
		MemoryContext before = MemoryContextSwitchTo(explained->context);

		explained->total = DatumGetNumericCopy(NumericGetDatum(row->quantity));
		MemoryContextSwitchTo(before);
	}
}

/*
 * Find where the resource's rows are: its events are read at once, as each query
 * would have to be planned for all segments; of measures, few matter.
 */
static void
find_places(Explained *explained, const MeterDefinition *definition)
{
	meter_read_places(&explained->places[METER_LOG_EVENT], definition,
					  METER_LOG_EVENT, explained->row.resource);
	if (meter_usage_of(definition)->log == METER_LOG_MEASURE)
		explained->places[METER_LOG_MEASURE].sealed =
			meter_sealed_for(definition, METER_LOG_MEASURE, 1);
}

/* Fold the resource up to the end of the period. */
static void
fold_resource(Explained *explained, const MeterDefinition *definition,
			  const MeterProgress *progress)
{
	static const MeterLook look = {look_at_row, NULL, look_at_timeline};
	const MeterUsage *usage = meter_usage_of(definition);
	MeterFold  *fold = meter_fold_begin(usage, definition, progress);
	MeterResources *resources = meter_resources_begin();
	MeterResource *resource =
	meter_resources_add(resources, meter_attr_from_cstring(explained->row.resource));

	resource->from = explained->row.period_start;
	resource->to = explained->end;
	fold->from = explained->row.period_start;
	fold->to = explained->end;
	if (usage->log == METER_LOG_MEASURE)
	{
		fold->asked = resources;
		meter_measure_fold_trace(fold, look_at_part);
		meter_measure_fold_increases(fold, look_at_reading);
	}
	if (!progress->has_watermark)
		fold->scope.to = fold->scope.settled_to = explained->end;
	fold->scope.resources = meter_resources_names(resources);
	fold->scope.places = explained->places[METER_LOG_EVENT];
	fold->measure_places = explained->places[METER_LOG_MEASURE];
	fold->scope.voids_from_log = true;
	fold->scope.arrivals = true;
	fold->look = &look;
	fold->look_arg = explained;
	fold->emit = take_usage;
	fold->failure = METER_FOLD_RAISES;
	meter_fold_run(fold);
	meter_fold_end(fold);
}

/* --- in words ------------------------------------------------------------- */

/* Append the rows of the key in the ledger. */
static void
append_ledger(StringInfo sql, const MeterDefinition *definition,
			  const Row *row, const char *end)
{
	MeterNaming naming;
	pg_uuid_t	range[2];
	const char *meter = quote_literal_cstr(row->meter);

	meter_naming_begin(&naming, meter_attr_from_cstring(definition->stream),
					   meter_attr_from_cstring(row->meter),
					   meter_attr_from_cstring(row->resource));
	meter_name_range(&naming, row->period_start, &range[0], &range[1]);
	appendStringInfo(sql,
					 "SELECT 1 AS section, 'ledger' AS part, u.period_start AS \"time\", %s AS until, "
					 "NULL::bigint AS arrival, NULL::text AS source, NULL::text AS id, NULL::text AS action, "
					 "u.account, u.dimensions, NULL::numeric AS value, u.quantity, "
					 "format('%%s, settlement %%s of meter %%s, recorded at %%s%%s', "
					 "CASE u.revision WHEN 0 THEN 'first usage' ELSE format('adjustment %%s', u.revision) END, "
					 "u.settlement, u.meter, u.recorded_at, "
					 "CASE WHEN u.transaction_id = '%s' THEN ': the row asked for' END) AS explanation, "
					 "u.revision::bigint AS place FROM %s.usage u "
					 "WHERE u.transaction_id >= '%s' AND u.transaction_id <= '%s' "
					 "AND u.meter = %s AND u.resource = %s AND u.account = %s AND u.dimensions = %s::jsonb "
	/* all that is from before 1970 has the same beginning of the key */
					 "AND u.period_start = %s ",
					 end, row->uuid, quote_identifier(definition->stream),
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&range[0]))),
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&range[1]))),
					 meter, quote_literal_cstr(row->resource),
					 quote_literal_cstr(row->account),
					 quote_literal_cstr(row->dimensions),
					 meter_timestamp_literal(row->period_start));
}

/* Append the rows that made a step compute a settled period again. */
static void
append_late(StringInfo sql, const MeterDefinition *definition,
			const Explained *explained)
{
	const Row  *row = &explained->row;
	const char *schema = quote_identifier(definition->stream);
	bool		measures = meter_usage_of(definition)->log == METER_LOG_MEASURE;
	const char *resource = quote_literal_cstr(row->resource);
	const char *watermark;
	const char *when;

	if (!row->settled_again)
		return;
	watermark = meter_timestamp_literal(row->watermark_before);
	when = psprintf("format('arrived after the period was settled up to %%s', %s), e.arrival",
					watermark);
	appendStringInfo(sql,
					 "UNION ALL SELECT 6, 'late event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, e.value, NULL, %s FROM %s e "
					 "WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT " AND e.resource = %s "
					 "AND ((e.action = 'void' AND e.id IS NOT NULL AND e.\"time\" < %s) OR ",
					 when,
					 meter_any_rows(&explained->places[METER_LOG_EVENT], definition, METER_LOG_EVENT),
					 row->position_before[METER_LOG_EVENT],
					 row->position[METER_LOG_EVENT], resource,
					 meter_later_than(watermark, definition->deduplication_window));
	if (measures)
		appendStringInfo(sql, "(e.\"time\" < %s AND e.account IS NOT NULL)) "
						 "UNION ALL SELECT 6, 'late measure', e.start_time, e.end_time, e.arrival, e.source, e.id, NULL, "
						 "e.account, NULL, e.value, NULL, %s FROM %s.measure e "
						 "WHERE e.arrival > " INT64_FORMAT " AND e.arrival <= " INT64_FORMAT " AND e.resource = %s "
						 "AND e.%s < %s",
						 watermark, when, schema,
						 row->position_before[METER_LOG_MEASURE],
						 row->position[METER_LOG_MEASURE], resource,
						 meter_time_column(definition, METER_LOG_MEASURE),
						 watermark);
	else
		appendStringInfo(sql, "e.\"time\" < %s OR (" METER_IS_OBSERVATION("e") " AND "
						 METER_REACH("e.attributes", "e.\"time\"", "e.action = 'reconciled:stop'") " < %s))",
						 watermark, watermark);
}

/* What an event e says that only names an owner. */
#define SAYS_WHO_PAYS(e) \
	"CASE " e ".account WHEN '' THEN 'says that nobody pays from then on' ELSE 'says who pays from then on' END"

/* Was the resource running just before the event v? */
#define WAS_OPEN \
	"EXISTS (SELECT FROM runs r WHERE r.span_begin < v.at AND r.span_end >= v.at)"

/* Return a list (resource) of the resource. */
static char *
the_resource(const Row *row)
{
	return psprintf("(SELECT %s COLLATE \"C\" AS resource)",
					quote_literal_cstr(row->resource));
}

/* Append rows for the events of what ran in the period, and what they make. */
static void
append_events(StringInfo sql, const MeterDefinition *definition,
			  const Explained *explained, const char *begin, const char *end)
{
	const Row  *row = &explained->row;
	const char *rows = meter_rows_of_resources(definition, the_resource(row),
											   &explained->places[METER_LOG_EVENT],
											   NULL, NULL);
	bool		weighted = definition->aggregate == METER_WEIGHTED;

	appendStringInfo(sql,
					 "UNION ALL SELECT 2, 'event', e.\"time\", NULL, e.arrival, e.source, e.id, e.action, "
					 "e.account, NULL, v.value, NULL, "
					 "CASE v.kind WHEN " METER_SQL_KIND(START) " THEN 'starts' WHEN " METER_SQL_KIND(STOP)
					 " THEN 'stops' WHEN " METER_SQL_KIND(CHANGE) " THEN 'changes' WHEN " METER_SQL_KIND(END) " THEN 'ends for good' "
					 "WHEN " METER_SQL_KIND(OWNER) " THEN " SAYS_WHO_PAYS("e")
					 " WHEN " METER_SQL_KIND(OBSERVED_OWNER) " THEN " SAYS_WHO_PAYS("e") " || format(': a snapshot of %%s that meter %%s did not agree with', e.source, e.attributes ->> 'meter') "
					 "ELSE meter_internal.observation_text(e.action, e.source, e.\"time\", e.attributes) END || "
					 "CASE WHEN " METER_IS_KIND("v.kind", START) " AND EXISTS (SELECT FROM found_ignored i WHERE i.at = v.at "
					 "AND i.sequence IS NOT DISTINCT FROM e.sequence) THEN ', but it had ended: ignored' "
					 "WHEN " METER_IS_START_OR_STOP("v.kind") " AND EXISTS (SELECT FROM found_events w WHERE w.at = v.at "
					 "AND " METER_IS_START_OR_STOP("w.kind") " AND w.kind <> v.kind) "
					 "THEN format(', together with a %%s: it goes on as before', CASE v.kind WHEN " METER_SQL_KIND(START) " THEN 'stop' ELSE 'start' END) "
					 "WHEN " METER_IS_KIND("v.kind", START) " AND " WAS_OPEN " THEN ', but it was running already' "
					 "WHEN " METER_IS_KIND("v.kind", STOP) " AND NOT " WAS_OPEN " THEN ', but it was not running' ELSE '' END, e.arrival "
					 "FROM found_events v JOIN %s e ON e.arrival = v.arrival "
					 "WHERE (v.at < %s AND v.at >= least((SELECT at FROM since), %s)) "
					 "OR v.at = (SELECT min(n.at) FROM found_events n WHERE n.account <> '') "
	/* who owned what ran when it began */
					 "OR (v.account IS NOT NULL AND v.at = (SELECT max(n.at) FROM found_events n WHERE n.account IS NOT NULL "
					 "AND n.at <= least((SELECT at FROM since), %s))) "
	/* observations that are later, and reach back into the period */
					 "OR (" METER_IS_LOGGED_OBSERVATION("v.kind") " AND v.at >= %s AND "
					 METER_REACH("v.observation", "v.at", METER_IS_KIND("v.kind", LOGGED_ABSENT)) " < %s) ",
					 rows, end, begin, begin, end, end);
	appendStringInfoString(sql,
						   "UNION ALL SELECT 3, 'span', s.span_begin, nullif(s.span_end, 'infinity'), NULL, NULL, NULL, NULL, "
						   "s.account, s.dimensions, s.value, NULL, "
						   "CASE WHEN s.kind = 'g' THEN 'no sign of life: not billed' "
						   "WHEN s.span_end = 'infinity' THEN 'runs on' ELSE 'ran' END, NULL FROM spans s ");
	appendStringInfo(sql,
					 "UNION ALL SELECT 4, 'billed', s.cut_begin, s.cut_end, NULL, NULL, NULL, NULL, s.account, "
					 "s.dimensions, s.value, s.quantity, "
					 "format('%%s s, %%s%%s, divided by %%s s%s%%s', "
					 "trim_scale(extract(epoch FROM s.cut_end - s.cut_begin)), %s, "
					 "CASE WHEN s.cut_begin > s.span_begin OR s.cut_end < s.span_end THEN ', cut to the period' ELSE '' END, "
					 "trim_scale(" INT64_FORMAT " / 1000000.0), "
					 "CASE WHEN s.account = %s AND s.dimensions = %s::jsonb THEN '' ELSE ': another key''s' END), NULL FROM billed s ",
					 weighted ? ", times the value" : "",
					 quote_literal_cstr(definition->rounding == METER_ROUND_NONE ||
										definition->rounding_of == METER_ROUND_RUN ? "not rounded" :
										psprintf("rounded %s in units of %s", definition->rounding_name, definition->increment)),
					 definition->unit, quote_literal_cstr(row->account),
					 quote_literal_cstr(row->dimensions));
}

/* Append rows for what runs are billed beside their time, or that they began. */
static void
append_marks(StringInfo sql, const MeterDefinition *definition, const Row *row)
{
	bool		counts = definition->aggregate == METER_RUNS;
	const char *what = counts ? "'a run began'" :
	psprintf("format('a run ended that lacked %%s s of what it is billed: %s%s%s%s, divided by %%s s', "
			 "trim_scale(m.amount / 1000000.0), trim_scale(" INT64_FORMAT " / 1000000.0))",
			 definition->rounding_of == METER_ROUND_RUN ?
			 psprintf("whole increments of %s", definition->increment) : "",
			 definition->rounding_of == METER_ROUND_RUN && definition->minimum > 0 ? ", and " : "",
			 definition->minimum > 0 ? psprintf("a minimum of " INT64_FORMAT " s", definition->minimum / METER_SECOND) : "",
			 definition->aggregate == METER_WEIGHTED ? ", times the value" : "",
			 definition->unit);

	appendStringInfo(sql,
					 "UNION ALL SELECT 4, %s, m.at, NULL, NULL, NULL, NULL, NULL, m.account, m.dimensions, m.value, m.quantity, "
					 "%s || CASE WHEN m.account = %s AND m.dimensions = %s::jsonb THEN '' ELSE ': another key''s' END, NULL FROM marks m ",
					 counts ? "'run'" : "'surplus'", what,
					 quote_literal_cstr(row->account),
					 quote_literal_cstr(row->dimensions));
}

/*
 * Append the lists that append_events() selects from: the runs that spans make,
 * the spans that go on in the period, where what ran in it began, or if nothing
 * did where the last run ended, and what is billed.
 */
static void
append_runs(StringInfo sql, const MeterDefinition *definition,
			const char *begin, const char *end)
{
	appendStringInfo(sql,
	/* spans that touch are one run; a number tells runs apart */
					 "WITH runs AS (SELECT s.*, sum(s.gap) OVER (ORDER BY s.span_begin) AS run FROM "
					 "(SELECT s.*, CASE WHEN s.span_begin = lag(s.span_end) OVER (ORDER BY s.span_begin) "
					 "THEN 0 ELSE 1 END AS gap FROM found_spans s WHERE s.kind <> 'b') s), "
					 "spans AS MATERIALIZED (SELECT * FROM runs WHERE span_end > %s), "
					 "since AS (SELECT coalesce(min(r.span_begin) FILTER (WHERE r.run IN (SELECT s.run FROM spans s)), "
					 "max(r.span_end)) AS at FROM runs r), "
					 "billed AS MATERIALIZED (SELECT s.*, "
	/* digits enough for what is rounded once to be rounded twice */
					 "trim_scale(round(extract(epoch FROM s.cut_end - s.cut_begin) * %s * 1000000.000000000000000000 / " INT64_FORMAT ", 12)) AS quantity "
					 "FROM (SELECT s.*, greatest(s.span_begin, %s) AS cut_begin, "
					 "least(s.span_end, %s) AS cut_end FROM found_spans s WHERE s.kind = 'b') s), "
					 "marks AS MATERIALIZED (SELECT m.*, trim_scale(round(m.amount * %s * 1.000000000000000000 / " INT64_FORMAT ", 12)) AS quantity "
					 "FROM found_marks m) ",
					 begin,
					 definition->aggregate == METER_WEIGHTED ? "coalesce(s.value, 0)" : "1",
					 definition->unit, begin, end,
					 definition->aggregate == METER_WEIGHTED ? "coalesce(m.value, 0)" : "1",
					 definition->aggregate == METER_RUNS ? 1 : definition->unit);
}

/*
 * Append the reading before that is known from the retention boundary, if the
 * log has none.
 */
static void
append_boundary_reading(StringInfo sql, const MeterDefinition *definition,
						const Row *row, const char *key)
{
	const char *dimensions = quote_literal_cstr(row->dimensions);
	int			i;

	appendStringInfo(sql,
					 "UNION ALL SELECT 3, 'measure', r.\"time\", NULL, NULL, NULL, NULL, NULL, NULL, NULL, r.value, NULL, "
					 "format('says %%s: the reading before, known at the retention boundary', r.value), 0 "
					 "FROM %s._retention_reading r WHERE r.meter = %s AND r.resource = %s AND r.dimensions = ARRAY[",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name),
					 quote_literal_cstr(row->resource));
	for (i = 0; i < definition->ndimensions; i++)
		appendStringInfo(sql, "%s%s::jsonb ->> %s", i > 0 ? ", " : "", dimensions,
						 quote_literal_cstr(definition->dimension_names[i]));
	appendStringInfo(sql, "]::text[] AND NOT EXISTS (SELECT FROM found_parts b WHERE b.what = %d AND %s) ",
					 METER_MEASURE_BASE, key);
}

/*
 * Return an expression for what became of a reading i of a counter; without one,
 * a greater one of its instant counts.
 */
static char *
counted_in_words(const MeterDefinition *definition)
{
	const char *before = "format(', and %s before', trim_scale(i.before))";
	const char *modulus = definition->modulus == NULL ? "NULL" :
	quote_literal_cstr(definition->modulus);

	return psprintf("CASE i.counted WHEN %d THEN ': the first reading, which is the base' "
					"WHEN %d THEN %s WHEN %d THEN %s || format(': it went round at %%s', %s) "
					"WHEN %d THEN %s || ': all of it' WHEN %d THEN ': the first reading, all of it' "
					"WHEN %d THEN format(', from 0 at %%s: all of it', b.start_time) "
					"WHEN %d THEN ': passed over, as it is less than 0' "
					"WHEN %d THEN format(': passed over, as the counter goes round at %%s', %s) "
					"WHEN %d THEN %s || ': passed over, as drops are ignored' "
					"WHEN %d THEN format(', from 0 at %%s: passed over, as one before counts from later', b.start_time) "
					"ELSE CASE WHEN b.value IS NOT NULL THEN ': another reading of its instant counts' END END",
					METER_COUNTED_BASE, METER_COUNTED_DIFFERENCE, before,
					METER_COUNTED_WRAP, before, modulus, METER_COUNTED_RESET,
					before, METER_COUNTED_ZERO, METER_COUNTED_START,
					METER_PASSED_NEGATIVE, METER_PASSED_MODULUS, modulus,
					METER_PASSED_DROP, before, METER_PASSED_START);
}

/* Append the list that append_measures() selects from. */
static void
append_found_measures(StringInfo sql, const MeterDefinition *definition,
					  const Explained *explained)
{
	appendStringInfo(sql, "WITH found_measures AS MATERIALIZED (SELECT m.* FROM %s m) ",
					 meter_rows_at(&explained->places[METER_LOG_MEASURE], definition,
								   METER_LOG_MEASURE,
								   psprintf("%s t", the_resource(&explained->row)), "e.*",
								   psprintf("e.resource = t.resource AND e.end_time >= %s AND e.end_time <= %s",
											meter_timestamp_literal(explained->first_end),
											meter_timestamp_literal(explained->last_end)),
								   ""));
}

/* Append rows for the measures, and for the events that say who pays. */
static void
append_measures(StringInfo sql, const MeterDefinition *definition,
				const Explained *explained, const char *begin, const char *end)
{
	const Row  *row = &explained->row;
	const char *key = psprintf("b.dimensions = %s::jsonb", quote_literal_cstr(row->dimensions));

	/* of the readings before, only the last one that counted matters */
	const char *matters = psprintf("(b.what <> %d OR b.arrival = (SELECT n.arrival FROM found_parts n JOIN found_readings i ON i.arrival = n.arrival "
								   "WHERE n.what = %d AND n.dimensions = b.dimensions AND NOT i.passed_over ORDER BY n.end_time DESC LIMIT 1))",
								   METER_MEASURE_BASE, METER_MEASURE_BASE);

	/* names of what is measured */
	const char *names = psprintf("(SELECT v.at, e.* FROM found_events v JOIN %s e ON e.arrival = v.arrival "
								 "WHERE EXISTS (SELECT FROM found_parts b JOIN found_measures m ON m.arrival = b.arrival WHERE m.account IS NULL AND %s "
								 "AND (" METER_ENTITY_OF("m") " IS NULL OR coalesce(" METER_ENTITY_OF("e") ", m.entity) = m.entity)))",
								 meter_any_rows(&explained->places[METER_LOG_EVENT],
												definition, METER_LOG_EVENT),
								 matters);

	/* those of the period, and the one before */
	appendStringInfo(sql,
					 "UNION ALL SELECT 2, 'event', v.\"time\", NULL, v.arrival, v.source, v.id, v.action, "
					 "v.account, NULL, NULL, NULL, " SAYS_WHO_PAYS("v") ", v.arrival FROM %s v "
					 "WHERE (v.at < %s AND v.at >= coalesce((SELECT max(n.at) FROM %s n WHERE n.at <= %s), (SELECT min(n.at) FROM %s n))) "
					 "OR (v.at = (SELECT min(n.at) FROM %s n WHERE n.account <> '') AND v.at >= %s) ",
					 names, end, names, begin, names, names, end);
	appendStringInfo(sql,
					 "UNION ALL SELECT 3, 'measure', b.start_time, b.end_time, b.arrival, m.source, m.id, NULL, "
					 "m.account, NULL, m.value, trim_scale(coalesce(b.quantity, CASE WHEN b.what <> %d THEN i.added END)), CASE b.what WHEN %d THEN 'all of it' "
					 "WHEN %d THEN format('from %%s to %%s: trunc(%%s * %%s / %%s, %%s) - trunc(%%s * %%s / %%s, %%s)', "
					 "b.part_begin, b.part_end, b.value, "
					 "trim_scale(extract(epoch FROM b.part_end - b.start_time)), trim_scale(extract(epoch FROM b.end_time - b.start_time)), scale(b.value), b.value, "
					 "trim_scale(extract(epoch FROM b.part_begin - b.start_time)), trim_scale(extract(epoch FROM b.end_time - b.start_time)), scale(b.value)) "
					 "WHEN %d THEN format('says %%s: the reading before', b.value) "
					 "ELSE format('says %%s%%s', coalesce(b.label, b.value::text, 'nothing'), %s) END, b.arrival "
					 "FROM found_parts b JOIN found_measures m ON m.arrival = b.arrival "
					 "LEFT JOIN found_readings i ON i.arrival = b.arrival WHERE %s AND %s AND (b.what = %d OR b.payer = %s) ",
					 METER_MEASURE_BASE, METER_MEASURE_WHOLE, METER_MEASURE_CUT, METER_MEASURE_BASE,
					 definition->aggregate == METER_COUNTER ? counted_in_words(definition) : "''",
					 key, matters, METER_MEASURE_BASE,
					 quote_literal_cstr(row->account));
	if (definition->aggregate == METER_COUNTER)
		append_boundary_reading(sql, definition, row, key);
}

/* Append the row for what the key should have. */
static void
append_total(StringInfo sql, const MeterDefinition *definition,
			 const Explained *explained, const char *begin, const char *end)
{
	const char *total = explained->total == NULL ? "0" :
	DatumGetCString(DirectFunctionCall1(numeric_out,
										DirectFunctionCall1(numeric_trim_scale,
															NumericGetDatum(explained->total))));

	/* the parts are rounded each, the total once */
	if (meter_usage_of(definition)->log == METER_LOG_EVENT)
		appendStringInfo(sql,
						 "UNION ALL SELECT 5, 'rounding', %s, %s, NULL, NULL, NULL, NULL, %s, %s::jsonb, NULL, r.rest, "
						 "'what is missing to the total, which is divided once and then rounded', 0 "
						 "FROM (SELECT %s::numeric - coalesce(sum(s.quantity), 0) FROM (SELECT account, dimensions, quantity FROM billed "
						 "UNION ALL SELECT account, dimensions, quantity FROM marks) s WHERE s.account = %s AND s.dimensions = %s::jsonb) r (rest) "
						 "WHERE r.rest <> 0 ",
						 begin, end, quote_literal_cstr(explained->row.account),
						 quote_literal_cstr(explained->row.dimensions), total,
						 quote_literal_cstr(explained->row.account),
						 quote_literal_cstr(explained->row.dimensions));
	appendStringInfo(sql,
					 "UNION ALL SELECT 5, 'total', %s, %s, NULL, NULL, NULL, NULL, %s, %s::jsonb, NULL, %s::numeric, "
					 "'%swhat the rows of this key in the ledger add up to', NULL ",
					 begin, end, quote_literal_cstr(explained->row.account),
					 quote_literal_cstr(explained->row.dimensions), total,
					 meter_usage_of(definition)->log == METER_LOG_EVENT ? "" :
					 psprintf("%s of these: ", meter_aggregate_name(definition->aggregate)));
}

/*
 * Append the condition that leaves out what is of others' accounts.  Of a
 * resource that others had before or after, a tenant sees the rows that name its
 * account, and those without a name of the time that the resource was its own.
 */
static void
append_own_only(StringInfo sql, bool events, const char *own)
{
	const char *is_own = psprintf("COLLATE \"C\" = ANY (%s)", own);

	appendStringInfo(sql, " WHERE part IN ('ledger', 'rounding', 'total') OR x.account %s OR (x.account IS NULL AND ",
					 is_own);
	if (events)
		appendStringInfo(sql, "part IN ('event', 'late event') AND EXISTS (SELECT FROM found_spans s WHERE s.kind <> 'b' "
						 "AND s.account %s AND s.span_begin <= x.\"time\" AND (x.\"time\" < s.span_end OR (x.\"time\" = s.span_end "
						 "AND NOT EXISTS (SELECT FROM found_spans n WHERE n.kind <> 'b' AND n.span_begin = s.span_end AND NOT n.account %s)))))",
						 is_own, is_own);
	else
		appendStringInfo(sql, "part IN ('measure', 'late measure') AND EXISTS (SELECT FROM found_parts p WHERE p.arrival = x.arrival "
						 "AND p.what <> %d AND p.payer %s))",
						 METER_MEASURE_BASE, is_own);
}

/*
 * Check that the caller may have rows explained.  Returns the accounts whose rows
 * those are, as a literal, or NULL: of all.
 */
static char *
check_may_explain(const char *stream)
{
	Datum		own;

	if (meter_has_access(stream, METER_ACCESS_ANALYST) ||
		!OidIsValid(get_namespace_oid(stream, true)) ||
		(own = meter_own_accounts(stream)) == (Datum) 0 ||
		ARR_NDIM(DatumGetArrayTypeP(own)) == 0)
	{
		meter_check_access(stream, METER_ACCESS_ANALYST);
		return NULL;
	}
	return meter_text_array_literal(own);
}

/*
 * Return the query of what explains the row.  It leaves out what is of others'
 * accounts than these (a literal; NULL: nothing).
 */
static char *
explanation(const Explained *explained, const MeterDefinition *definition,
			const char *own)
{
	const Row  *row = &explained->row;
	const char *begin = meter_timestamp_literal(row->period_start);
	const char *end = meter_timestamp_literal(explained->end);
	bool		events = meter_usage_of(definition)->log == METER_LOG_EVENT;
	StringInfoData sql;

	initStringInfo(&sql);
	if (events)
		append_runs(&sql, definition, begin, end);
	else
		append_found_measures(&sql, definition, explained);
	appendStringInfoString(&sql, "SELECT part, \"time\", until, arrival, source, id, action, account, dimensions, "
						   "value, quantity, explanation FROM (");
	append_ledger(&sql, definition, row, end);
	if (events)
	{
		append_events(&sql, definition, explained, begin, end);
		if (definition->of_runs)
			append_marks(&sql, definition, row);
	}
	else
		append_measures(&sql, definition, explained, begin, end);
	append_total(&sql, definition, explained, begin, end);
	append_late(&sql, definition, explained);
	appendStringInfoString(&sql, ") x");
	if (own != NULL)
		append_own_only(&sql, events, own);
	appendStringInfoString(&sql, " ORDER BY section, \"time\", place");
	return sql.data;
}

/* Return what explains the row, on the node that has the resource. */
static void
explain_row(FunctionCallInfo fcinfo, Explained *explained,
			const MeterDefinition *definition, const MeterProgress *progress,
			const char *own)
{
	MeterSession session;
	MeterLog	log;

	explained->dimensions = DirectFunctionCall1(jsonb_in,
												CStringGetDatum(explained->row.dimensions));
	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	meter_session_bulk();
	make_lists(explained);
	find_places(explained, definition);
	fold_resource(explained, definition, progress);
	meter_register_rows(&explained->events);
	meter_register_rows(&explained->spans);
	meter_register_rows(&explained->marks);
	meter_register_rows(&explained->ignored);
	meter_register_rows(&explained->parts);
	meter_register_rows(&explained->readings);
	meter_execute(explanation(explained, definition, own), SPI_OK_SELECT);
	meter_return_result(fcinfo);
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
		meter_forget_places(&explained->places[log]);
	meter_session_end(&session);
}

/* --- on a cluster --------------------------------------------------------- */

/* What the question for the usage row says. */
enum
{
	ROW_UUID,
	ROW_NSAID
};

/* Return the usage row, if the shard has it. */
static void
answer_row(MeterShardQuestion *question)
{
	MeterSession session;

	meter_session_begin(&session, meter_stream_owner(question->stream));
	meter_execute(row_query(question->stream, question->said[ROW_UUID], NULL),
				  SPI_OK_SELECT);
	meter_return_result(question->fcinfo);
	meter_session_end(&session);
}

PG_FUNCTION_INFO_V1(meter_usage_row_of_shard);

/* usage_row_of_shard(stream, key, tables, meters, numbers, seen, said) */
Datum
meter_usage_row_of_shard(PG_FUNCTION_ARGS)
{
	return meter_answer(fcinfo, ROW_NSAID, answer_row);
}

/* What the question for what explains it says; numbers as texts. */
enum
{
	SAID_UUID,
	SAID_ACCOUNT,
	SAID_RESOURCE,
	SAID_DIMENSIONS,
	SAID_PERIOD_START,
	SAID_WATERMARK_BEFORE,		/* NULL: it had not been settled before */
	SAID_POSITION_BEFORE,		/* of each log */
	SAID_POSITION = SAID_POSITION_BEFORE + METER_NLOGS,
	NSAID = SAID_POSITION + METER_NLOGS
};

/* Return a number that was said. */
static int64
said_number(const MeterShardQuestion *question, int said)
{
	return DatumGetInt64(meter_said_value(question->said[said], INT8OID));
}

/* Return what explains the row. */
static void
answer(MeterShardQuestion *question)
{
	const MeterAskedMeter *meter = linitial(question->meters);
	Explained	explained = {0};
	Row		   *row = &explained.row;
	MeterLog	log;

	explained.context = CurrentMemoryContext;
	row->uuid = question->said[SAID_UUID];
	row->meter = meter->definition->name;
	row->account = question->said[SAID_ACCOUNT];
	row->resource = question->said[SAID_RESOURCE];
	row->dimensions = question->said[SAID_DIMENSIONS];
	row->period_start = said_number(question, SAID_PERIOD_START);
	row->settled_again = question->said[SAID_WATERMARK_BEFORE] != NULL;
	if (row->settled_again)
		row->watermark_before = said_number(question, SAID_WATERMARK_BEFORE);
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		row->position_before[log] = said_number(question, SAID_POSITION_BEFORE + log);
		row->position[log] = said_number(question, SAID_POSITION + log);
	}
	explained.end = meter->to;
	explain_row(question->fcinfo, &explained, meter->definition,
				meter->progress, NULL);
}

PG_FUNCTION_INFO_V1(meter_explain_of_shard);

/* explain_of_shard(stream, key, tables, meters, numbers, seen, said) */
Datum
meter_explain_of_shard(PG_FUNCTION_ARGS)
{
	return meter_answer(fcinfo, NSAID, answer);
}

/* What a call asks for. */
typedef struct Asked
{
	FunctionCallInfo fcinfo;
	const char *stream;
	const char *own;			/* accounts, a literal; NULL: all */
	MemoryContext context;
	bool		found;			/* by a shard */
	Row			row;
} Asked;

/* Take the usage row, of the shard that has it. */
static void
take_usage_row(void *arg, TupleTableSlot *slot)
{
	Asked	   *asked = arg;
	Row		   *row = &asked->row;
	const Datum *values = slot->tts_values + 1;
	MemoryContext before = MemoryContextSwitchTo(asked->context);

	asked->found = true;
	row->meter = TextDatumGetCString(values[0]);
	row->account = TextDatumGetCString(values[1]);
	row->resource = TextDatumGetCString(values[2]);
	row->dimensions = TextDatumGetCString(values[3]);
	row->period_start = DatumGetTimestampTz(values[4]);
	row->settlement = DatumGetInt64(values[5]);
	MemoryContextSwitchTo(before);
}

/* Return a number as a text. */
static const char *
number_text(int64 number)
{
	return psprintf(INT64_FORMAT, number);
}

/* Have the shard that has the resource explain the row. */
static bool
ask_resource(Asked *asked, MeterAskedMeter *meter)
{
	Row		   *row = &asked->row;
	const char *said[NSAID] = {row->uuid, row->account, row->resource, row->dimensions};
	MeterQuestion question = {
		.stream = asked->stream,
		.function = "explain_of_shard",
		.meters = list_make1(meter),
		.resource = CStringGetTextDatum(row->resource),
		.said = said,
		.nsaid = NSAID
	};
	MeterLog	log;

	meter->to = meter_grid_period_end(meter->definition->grid, row->period_start);
	find_settlement(asked->stream, meter->to, row);
	said[SAID_PERIOD_START] = number_text(row->period_start);
	if (row->settled_again)
		said[SAID_WATERMARK_BEFORE] = number_text(row->watermark_before);
	for (log = METER_LOG_EVENT; log < METER_NLOGS; log++)
	{
		said[SAID_POSITION_BEFORE + log] = number_text(row->position_before[log]);
		said[SAID_POSITION + log] = number_text(row->position[log]);
	}
	return meter_ask_shards(&question, meter_return_answer, asked->fcinfo);
}

/*
 * Find the usage row, and what explains it.  A transaction ID does not say where
 * the resource is, so each shard looks it up in its ledger.  Returns false if a
 * shard has come further.
 */
static bool
ask_shards(void *arg)
{
	Asked	   *asked = arg;
	const char *said[ROW_NSAID] = {asked->row.uuid};
	MeterQuestion question = {
		.stream = asked->stream,
		.function = "usage_row_of_shard",
		.meters = meter_asked_about(asked->stream),
		.said = said,
		.nsaid = ROW_NSAID
	};
	ListCell   *cell;

	asked->found = false;
	if (!meter_ask_shards(&question, take_usage_row, asked))
		return false;
	if (!asked->found)
		no_row(asked->stream, asked->row.uuid);
	foreach(cell, question.meters)
	{
		MeterAskedMeter *meter = lfirst(cell);

		if (strcmp(meter->definition->name, asked->row.meter) == 0)
			return ask_resource(asked, meter);
	}
	(void) meter_load(asked->stream, asked->row.meter, METER_LOCK_NONE);	/* raises that there is
																			 * none */
	return false;
}

/* --- the function --------------------------------------------------------- */

/* Return what explains a row of a stream of one node. */
static void
explain_here(void *arg)
{
	Asked	   *asked = arg;
	Explained	explained = {0};
	MeterDefinition *definition;

	explained.context = asked->context;
	explained.row = asked->row;
	find_row(asked->stream, asked->own, &explained.row);
	definition = meter_load(asked->stream, explained.row.meter, METER_LOCK_NONE);
	explained.end = meter_grid_period_end(definition->grid,
										  explained.row.period_start);
	find_settlement(asked->stream, explained.end, &explained.row);
	explain_row(asked->fcinfo, &explained, definition,
				meter_load_progress(definition), asked->own);
}

PG_FUNCTION_INFO_V1(meter_explain);

/* explain(stream, transaction_id) */
Datum
meter_explain(PG_FUNCTION_ARGS)
{
	Asked		asked = {
		.fcinfo = fcinfo,
		.stream = text_to_cstring(PG_GETARG_TEXT_PP(0)),
		.context = CurrentMemoryContext
	};

	asked.row.uuid = DatumGetCString(DirectFunctionCall1(uuid_out,
														 PG_GETARG_DATUM(1)));
	asked.own = check_may_explain(asked.stream);
	meter_return_begin(fcinfo);
	if (meter_stream_shards(asked.stream) > 0)
	{
		meter_ask(asked.stream, fcinfo, ask_shards, &asked);
		return (Datum) 0;
	}
	/* ledger and logs as they are now: a statement may have settled before */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	meter_with_one_snapshot(explain_here, &asked);
	PopActiveSnapshot();
	return (Datum) 0;
}
