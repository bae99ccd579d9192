/*
 * preview.c
 *	  meter.preview_meter(): what a meter would settle at once if it were made.
 *
 * The rows that are there are walked as a settle would do it, and its usage is
 * counted.  Nothing is written: on a standby, too.  Days of the calendar that
 * create_meter() would take over from another name of the zone are not seen.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "storage/itemid.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "catalog/stream.h"
#include "commands/create_meter.h"
#include "core/core.h"
#include "engine/asking.h"
#include "engine/beginning.h"
#include "engine/clock.h"
#include "engine/fold.h"
#include "engine/usage_kind.h"
#include "pg/arguments.h"
#include "pg/operation.h"
#include "pg/spi.h"

/* What a meter would come to. */
typedef struct Preview
{
	MeterDefinition *definition;
	const char *row;			/* of that, where shards count */
	bool		begins;			/* where is known */
	bool		ends;
	TimestampTz begin;
	TimestampTz end;
	int64		resources;
	int64		usage_rows;
	int64		bytes;
	StringInfoData resource;	/* the last one that had usage */
	int64		rows_before;	/* it */
	int64		bytes_before;
} Preview;

/* Return how much space a text of a row takes. */
static Size
text_size(Size length)
{
	return length + (length < VARATT_SHORT_MAX ? VARHDRSZ_SHORT : VARHDRSZ);
}

/*
 * Return about how much space a usage row takes in the ledger and in the index
 * of its key, whose pages are nine tenths full.
 */
static int64
row_size(const Preview *preview, const MeterFold *fold,
		 const MeterUsageRow *row)
{
	Size		row_data = UUID_LEN + text_size(strlen(preview->definition->name)) +
	text_size(row->account.len) + text_size(fold->resource.len) +
	VARSIZE_ANY(DatumGetPointer(row->dimensions)) +
	VARSIZE_ANY(row->quantity) +
	sizeof(TimestampTz) * 2 + sizeof(int64) + sizeof(int32);
	Size		entry = MAXALIGN(sizeof(IndexTupleData) + UUID_LEN) + sizeof(ItemIdData);

	return MAXALIGN(SizeofHeapTupleHeader) + MAXALIGN(row_data) +
		sizeof(ItemIdData) + entry * 10 / 9;
}

/* Tell whether usage of the resource at hand was counted. */
static bool
has_counted(const Preview *preview, const MeterFold *fold)
{
	return preview->resources > 0 &&
		preview->resource.len == fold->resource.len &&
		memcmp(preview->resource.data, fold->resource.data,
			   fold->resource.len) == 0;
}

/* Count a usage row. */
static void
count_row(MeterFold *fold, const MeterUsageRow *row)
{
	Preview    *preview = fold->emit_arg;

	if (!has_counted(preview, fold))
	{
		preview->resources++;
		preview->rows_before = preview->usage_rows;
		preview->bytes_before = preview->bytes;
		resetStringInfo(&preview->resource);
		appendBinaryStringInfo(&preview->resource, fold->resource.data,
							   fold->resource.len);
	}
	preview->usage_rows++;
	preview->bytes += row_size(preview, fold, row);
}

/* Take back what was counted of a resource that is left out. */
static void
take_back(MeterFold *fold)
{
	Preview    *preview = fold->emit_arg;

	if (!has_counted(preview, fold))
		return;
	preview->resources--;
	preview->usage_rows = preview->rows_before;
	preview->bytes = preview->bytes_before;
	resetStringInfo(&preview->resource);
}

/* Make the progress that a meter has before its first step.  All that is there counts. */
static MeterProgress *
make_progress(void)
{
	MeterProgress *progress = palloc0(sizeof(MeterProgress));
	MeterLog	log;

	progress->first_clock = progress->ledger_until = DT_NOBEGIN;
	for (log = 0; log < METER_NLOGS; log++)
	{
		progress->logs[log].position_watermark = DT_NOBEGIN;
		progress->logs[log].note_watermark = DT_NOBEGIN;
		progress->logs[log].held_after = PG_INT64_MAX;
	}
	return progress;
}

/* Find from when to when the meter would settle at once. */
static void
find_window(Preview *preview)
{
	MeterDefinition *definition = preview->definition;

	preview->begin = Max(definition->since, definition->boundary);
	preview->begins = !TIMESTAMP_IS_NOBEGIN(preview->begin) ||
		meter_earliest_period(definition, make_progress(), &preview->begin);
	preview->ends = preview->begins &&
		meter_clock_ahead(definition, &preview->end);
	if (preview->ends)
		preview->end = Max(preview->end, preview->begin);
}

/* Count the usage of that time, of the stream or of a shard. */
static void
count_usage(Preview *preview)
{
	MeterDefinition *definition = preview->definition;
	MeterProgress *progress = make_progress();
	MeterFold  *fold;

	progress->has_watermark = true;
	progress->watermark = preview->end;
	initStringInfo(&preview->resource);
	fold = meter_fold_begin(meter_usage_of(definition), definition, progress);
	fold->from = preview->begin;
	fold->scope.voids_from_log = true;
	fold->emit = count_row;
	fold->take_back = take_back;
	fold->emit_arg = preview;
	meter_fold_run(fold);
	meter_fold_end(fold);
}

/* --- on a cluster --------------------------------------------------------- */

/* Return what a shard counts. */
static void
answer(MeterShardQuestion *question)
{
	const MeterAskedMeter *meter = linitial(question->meters);
	ReturnSetInfo *info = (ReturnSetInfo *) question->fcinfo->resultinfo;
	Preview		preview = {0};
	MeterSession session;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	preview.definition = meter->definition;
	preview.begin = meter->from;
	preview.end = meter->to;
	meter_session_begin(&session, meter_stream_owner(question->stream));
	meter_session_bulk();
	count_usage(&preview);
	meter_session_end(&session);
	values[0] = Int64GetDatum(preview.resources);
	values[1] = Int64GetDatum(preview.usage_rows);
	values[2] = Int64GetDatum(preview.bytes);
	tuplestore_putvalues(info->setResult, info->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(meter_preview_of_shard);

/* preview_of_shard(stream, key, tables, meters, numbers, seen, said) */
Datum
meter_preview_of_shard(PG_FUNCTION_ARGS)
{
	return meter_answer(fcinfo, 0, answer);
}

/* Add up what a shard has counted. */
static void
take_counts(void *arg, TupleTableSlot *slot)
{
	Preview    *preview = arg;

	preview->resources += DatumGetInt64(slot->tts_values[1]);
	preview->usage_rows += DatumGetInt64(slot->tts_values[2]);
	preview->bytes += DatumGetInt64(slot->tts_values[3]);
}

/* Have the shards count. */
static void
ask_shards(Preview *preview)
{
	MeterAskedMeter meter = {
		.definition = preview->definition,
		.progress = make_progress(),
		.row = preview->row,
		.from = preview->begin,
		.to = preview->end
	};
	MeterQuestion question = {
		.stream = preview->definition->stream,
		.function = "preview_of_shard",
		.meters = list_make1(&meter),
		.writes_nothing = true
	};

	(void) meter_ask_shards(&question, take_counts, preview);
}

/* --- the function --------------------------------------------------------- */

/* Find from when to when the meter would settle at once, and count its usage. */
static bool
make_preview(void *arg)
{
	Preview    *preview = arg;
	const MeterDefinition *definition = preview->definition;
	MeterSession session;
	bool		shown = meter_operation_begin("preview", definition->stream,
											  definition->name);

	meter_session_begin(&session, meter_stream_owner(definition->stream));
	meter_check_stream(definition->stream);
	meter_session_bulk();
	find_window(preview);
	if (preview->ends && preview->end > preview->begin)
	{
		if (definition->shards > 0)
			ask_shards(preview);
		else
			count_usage(preview);
	}
	meter_session_end(&session);
	meter_operation_end(shown);
	return true;
}

/* The same, as meter_with_one_snapshot() calls it. */
static void
make_local_preview(void *arg)
{
	(void) make_preview(arg);
}

PG_FUNCTION_INFO_V1(meter_preview_meter);

/* preview_meter(stream, meter, ..., if_not_exists) */
Datum
meter_preview_meter(PG_FUNCTION_ARGS)
{
	Preview		preview = {0};
	Datum		values[METER_NCOLUMNS];
	char		nulls[METER_NCOLUMNS];
	Datum		result[6];
	bool		isnull[6] = {0};
	TupleDesc	descriptor;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	meter_definition_arguments(fcinfo, values, nulls);
	preview.definition = meter_define(values, nulls);
	meter_check_boundaries(preview.definition, values, nulls);
	if (preview.definition->shards > 0)
	{
		preview.row = meter_row_of_columns(values, nulls);
		meter_ask(preview.definition->stream, NULL, make_preview, &preview);
	}
	else
		/* what the query sees, not what is there at this moment */
		meter_with_one_snapshot(make_local_preview, &preview);

	result[0] = TimestampTzGetDatum(preview.begin);
	isnull[0] = !preview.begins;
	result[1] = TimestampTzGetDatum(preview.end);
	isnull[1] = !preview.ends;
	result[2] = Int64GetDatum(!preview.ends ? 0 :
							  meter_count_periods(preview.definition,
												  preview.begin, preview.end));
	result[3] = Int64GetDatum(preview.resources);
	result[4] = Int64GetDatum(preview.usage_rows);
	result[5] = Int64GetDatum(preview.bytes);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor),
													  result, isnull)));
}
