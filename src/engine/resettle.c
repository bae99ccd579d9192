/*
 * resettle.c
 *	  Computing anew all that is settled: to compare the ledger with it, and to
 *	  correct the ledger.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "core/core.h"
#include "engine/duplicate_keys.h"
#include "engine/fold.h"
#include "engine/late.h"
#include "engine/late_rows.h"
#include "engine/ledger.h"
#include "engine/losses.h"
#include "engine/resettle.h"
#include "engine/scatter.h"
#include "engine/settle.h"
#include "engine/usage_kind.h"
#include "engine/usage_rows.h"
#include "pg/spi.h"

/* The name of what differs, to select from. */
#define DIFFERENCES	"found_differences"

/* Begin with no differences. */
static void
begin_differences(MeterRows *rows)
{
	static const char *const names[] = {
		"account", "resource", "dimensions", "period_start", "ledger", "expected"
	};
	static const Oid types[] = {
		TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, NUMERICOID, NUMERICOID
	};

	meter_begin_rows(rows, DIFFERENCES, METER_DIFFERENCE_NCOLUMNS, names, types);
}

/* Note what differs of a key. */
static void
note_difference(void *arg, const MeterDifference *difference)
{
	Datum		values[METER_DIFFERENCE_NCOLUMNS];
	bool		nulls[METER_DIFFERENCE_NCOLUMNS];

	meter_difference_values(difference, values, nulls);
	meter_add_row(arg, values, nulls);
}

/* Who is told of differences. */
typedef struct Told
{
	MeterTellDifference tell;
	void	   *arg;
} Told;

/* Tell a difference that is a fault. */
static void
tell_fault(void *arg, TupleTableSlot *slot)
{
	Told	   *told = arg;
	MeterDifference difference = meter_difference_of(slot->tts_values,
													 slot->tts_isnull);

	told->tell(told->arg, &difference);
}

/*
 * Tell which differences are faults: late rows that no step has looked at yet
 * are none, nor is a resource that is set aside.
 */
static void
tell_faults(const MeterDefinition *definition, const MeterProgress *progress,
			const MeterRows *differences, Told *told)
{
	StringInfoData sql;
	MeterLog	log;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT d.* FROM " DIFFERENCES " d WHERE true");
	for (log = METER_LOG_EVENT; progress->has_watermark &&
		 log <= meter_usage_of(definition)->log; log++)
		appendStringInfo(&sql, " AND (d.period_start >= %s OR NOT EXISTS (SELECT FROM %s AND e.resource = d.resource COLLATE \"C\"))",
						 meter_timestamp_literal(progress->watermark),
						 meter_late_in(definition, progress, log, -1));
	/* of what is set aside, nothing is known after the watermark, either */
	appendStringInfo(&sql, " AND NOT EXISTS (SELECT FROM %s.quarantine q WHERE q.meter = %s AND q.resource = d.resource COLLATE \"C\")",
					 quote_identifier(definition->stream),
					 quote_literal_cstr(definition->name));
	meter_register_rows(differences);
	meter_scan(sql.data, 0, NULL, NULL, NULL, tell_fault, told);
}

/* Compare the ledger with usage that is computed anew, of periods in [from, to). */
static void
compare_settled(const MeterDefinition *definition,
				const MeterProgress *progress, TimestampTz from,
				TimestampTz to, MeterRows *differences)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);

	fold->from = from;
	fold->to = to;
	fold->scope.voids_from_log = true;
	fold->ledger = meter_ledger_begin(definition, fold->spec,
									  METER_LEDGER_COMPARE, 0, false);
	meter_ledger_tell(fold->ledger, note_difference, differences);
	meter_fold_run(fold);
	(void) meter_ledger_end(fold->ledger, NULL, NULL);
	meter_fold_end(fold);
}

/*
 * Tell where the ledger is wrong: of the periods in [from, to), which are settled,
 * compared with usage that is computed anew, and of those up to `beyond` that are
 * not settled, of which there is no usage yet.
 */
void
meter_find_faults(const MeterDefinition *definition,
				  const MeterProgress *progress, TimestampTz from,
				  TimestampTz to, TimestampTz beyond,
				  MeterTellDifference tell, void *arg)
{
	Told		told = {tell, arg};
	MeterRows	differences;
	MeterLedger *ledger;

	if (definition->shards > 0)
	{
		int64		asks[METER_NASKS] = {0};
		int64		tells[METER_NTELLS];

		asks[METER_ASK_FROM] = from;
		asks[METER_ASK_TO] = to;
		asks[METER_ASK_BEYOND] = beyond;
		meter_scatter(definition, (MeterProgress *) progress,
					  METER_SHARD_VERIFY, asks, tells, tell, arg);
		return;
	}
	begin_differences(&differences);
	if (from < to)
		compare_settled(definition, progress, from, to, &differences);
	from = Max(from, progress->has_watermark ? progress->watermark : DT_NOBEGIN);
	if (from < beyond)
	{
		ledger = meter_ledger_begin(definition, meter_usage_spec(definition),
									METER_LEDGER_COMPARE, 0, false);
		meter_ledger_tell(ledger, note_difference, &differences);
		meter_ledger_read(ledger, from, beyond);
		(void) meter_ledger_end(ledger, NULL, NULL);
	}
	if (differences.count > 0)
		tell_faults(definition, progress, &differences, &told);
	meter_forget_rows(&differences);
}

/*
 * Find again what can be made of the logs alone: the voids that were read, and
 * where duplicates may be.
 */
void
meter_renew_rows(const MeterDefinition *definition, MeterProgress *progress)
{
	MeterLog	log;

	if (definition->shards > 0)
	{
		(void) meter_scatter_span(definition, progress, METER_SHARD_RENEW, 0,
								  0, 0, false, NULL);
		return;
	}
	meter_note_voids(definition, -1, progress->logs[METER_LOG_EVENT].position);
	for (log = METER_LOG_EVENT; log <= meter_usage_of(definition)->log; log++)
		meter_renew_duplicate_keys(definition, progress, log);
}

/*
 * Compute all resources anew, with what is kept of their rows if it is of the
 * `whole` log, and write how usage in [from, to) differs from the ledger.
 * Returns the number of adjustments.
 */
int64
meter_resettle_rows(const MeterDefinition *definition, MeterProgress *progress,
					bool whole, TimestampTz from, TimestampTz to)
{
	MeterLog	log;

	if (definition->shards > 0)
		return meter_scatter_span(definition, progress, METER_SHARD_RESETTLE,
								  from, to, 0, whole, NULL);
	meter_refuse_empty_log(definition, progress);
	for (log = METER_LOG_EVENT; whole && log <= meter_usage_of(definition)->log; log++)
		meter_renew_duplicate_keys(definition, progress, log);
	/* what a step has not read may have to be held */
	meter_note_voids(definition, -1, progress->logs[METER_LOG_EVENT].position);
	return meter_settle_anew(definition, progress, from, to, DT_NOBEGIN);
}
