/*
 * odd_runs.c
 *	  Classes of meter.anomalies() that are about runs: what came after the end
 *	  of a resource, and where runs had no sign of life.
 *
 * Both follow from the timelines of resources, which are walked for it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "commands/asked.h"
#include "commands/odd_runs.h"
#include "core/event_set.h"
#include "core/timeline_builder.h"
#include "engine/fold.h"
#include "engine/resources.h"
#include "engine/row_kind.h"
#include "engine/usage_kind.h"
#include "pg/attr.h"

/* A start of the resource at hand. */
typedef struct Start
{
	TimestampTz time;
	int64		sequence;
	bool		sequenced;
	int64		arrival;
} Start;

/* What is looked for, and where. */
typedef struct Search
{
	MeterAsked *asked;
	TimestampTz settled;		/* what is silent before then */
	MemoryContext context;
	int64		nstarts;
	int64		maxstarts;
	Start	   *starts;
} Search;

/* Note the starts of a resource. */
static void
note_start(MeterFold *fold, MeterRowKind kind, TimestampTz time,
		   const TupleTableSlot *slot)
{
	Search	   *search = fold->look_arg;
	Start	   *start;

	if (kind != METER_ROW_START)
		return;
	if (search->nstarts == search->maxstarts)
	{
		search->maxstarts = Max(64, 2 * search->maxstarts);
		search->starts = search->starts == NULL ?
			MemoryContextAlloc(search->context,
							   search->maxstarts * sizeof(Start)) :
			repalloc_huge(search->starts, search->maxstarts * sizeof(Start));
	}
	start = &search->starts[search->nstarts++];
	start->time = time;
	start->sequenced = !slot->tts_isnull[METER_FOLD_SEQUENCE];
	start->sequence = start->sequenced ?
		DatumGetInt64(slot->tts_values[METER_FOLD_SEQUENCE]) : 0;
	start->arrival = DatumGetInt64(slot->tts_values[METER_FOLD_ARRIVAL]);
}

/*
 * Return the starts that were ignored.  Those of one instant and sequence are
 * ignored alike.
 */
static void
return_ignored(MeterFold *fold, MeterCollected *collected,
			   MeterTimeline *timeline pg_attribute_unused())
{
	Search	   *search = fold->look_arg;
	const MeterEvents *events = &collected->events;
	int64		next = 0;
	int32		i;

	/* both are in order of time */
	for (i = 0; i < events->nevents; i++)
	{
		const MeterEvent *event = &events->events[i];
		int64		j;

		CHECK_FOR_INTERRUPTS();
		while (next < search->nstarts &&
			   search->starts[next].time < event->time)
			next++;
		if (event->kind != METER_IGNORED)
			continue;
		for (j = next; j < search->nstarts &&
			 search->starts[j].time == event->time; j++)
		{
			Start	   *start = &search->starts[j];

			if (start->arrival < 0 || start->sequenced != event->sequenced ||
				start->sequence != event->sequence)
				continue;
			meter_put_anomaly(search->asked, "after its end", fold,
							  start->time, &start->arrival,
							  "it had ended: the start is ignored");
			start->arrival = -1;
			break;
		}
	}
	search->nstarts = 0;
}

/* Return where runs of the resource were silent: a row for each time. */
static void
return_silent(MeterFold *fold, MeterCollected *collected pg_attribute_unused(),
			  MeterTimeline *timeline)
{
	Search	   *search = fold->look_arg;
	int32		i;
	int32		next;

	for (i = 0; i < timeline->ngaps; i = next)
	{
		const MeterSpan *gap = &timeline->gaps[i];
		TimestampTz end = gap->end;
		char	   *detail;

		CHECK_FOR_INTERRUPTS();
		/* attributes may have changed meanwhile */
		for (next = i + 1; next < timeline->ngaps &&
			 timeline->gaps[next].begin == end; next++)
			end = timeline->gaps[next].end;
		if (gap->begin >= search->settled)
			break;
		detail = end == METER_END ?
			pstrdup("no sign of life: it is not billed until the next one") :
			psprintf("no sign of life until %s: it was not billed",
					 timestamptz_to_str(end));
		meter_put_anomaly(search->asked, "silent", fold, gap->begin, NULL,
						  detail);
		pfree(detail);
	}
}

/* Walk the timelines of a meter. */
static void
search_timelines(MeterAsked *asked, const MeterDefinition *definition,
				 const MeterProgress *progress, const MeterLook *look)
{
	MeterFold  *fold = meter_fold_begin(meter_usage_of(definition), definition,
										progress);
	Search		search;

	memset(&search, 0, sizeof(search));
	search.asked = asked;
	search.settled = progress->watermark;
	search.context = CurrentMemoryContext;
	fold->from = fold->to = DT_NOEND;	/* no usage is asked for */
	fold->scope.to = fold->scope.settled_to = DT_NOEND;
	fold->scope.arrivals = true;
	fold->scope.voids_from_log = true;
	fold->failure = METER_FOLD_LEAVES_OUT;
	fold->look = look;
	fold->look_arg = &search;
	if (asked->resource != 0)
	{
		MeterResources *resources = meter_resources_begin();

		meter_resources_add(resources, meter_attr_from_text(asked->resource));
		fold->scope.resources = meter_resources_names(resources);
		meter_fold_find_places(fold);
	}
	meter_fold_run(fold);
	meter_fold_end(fold);
}

/* Starts that are ignored, since the resource had ended for good. */
void
meter_after_its_end(MeterAsked *asked, const MeterDefinition *definition,
					const MeterProgress *progress)
{
	static const MeterLook look = {note_start, NULL, return_ignored};

	if (meter_has_ends(definition))
		search_timelines(asked, definition, progress, &look);
}

/* Runs without a sign of life for longer than liveness. */
void
meter_silent(MeterAsked *asked, const MeterDefinition *definition,
			 const MeterProgress *progress)
{
	static const MeterLook look = {NULL, NULL, return_silent};

	if (definition->liveness > 0 && progress->has_watermark)
		search_timelines(asked, definition, progress, &look);
}
