/*
 * collect.c
 *	  Collecting what is known of one resource: its carried state, its events,
 *	  and what snapshots say of it.
 *
 * All of it is copied into the current memory context.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "core/core.h"
#include "core/event_set.h"
#include "core/observation.h"
#include "core/pairing.h"
#include "core/pieces.h"
#include "core/timeline_builder.h"
#include "engine/collect.h"
#include "pg/observation_json.h"

/* Copy attributes, in one piece. */
MeterAttr *
meter_copy_attrs(MemoryContext context, const MeterAttr *attrs, int32 count)
{
	Size		size = Max(count, 1) * sizeof(MeterAttr);
	MeterAttr  *copy;
	char	   *at;
	int32		i;

	for (i = 0; i < count; i++)
		size += Max(attrs[i].len, 0);
	copy = MemoryContextAlloc(context, size);
	at = (char *) (copy + count);
	for (i = 0; i < count; i++)
	{
		copy[i].len = attrs[i].len;
		copy[i].data = at;
		if (attrs[i].len > 0)
		{
			memcpy(at, attrs[i].data, attrs[i].len);
			at += attrs[i].len;
		}
	}
	return copy;
}

/* Raise that a resource has more rows than can be walked at once. */
void
meter_too_many_events(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a resource has too many events"),
			 errhint("Settle more often, so that fewer events are read at once.")));
}

/* Return the number of a source, from 1. */
static uint16
source_number(MeterEvents *events, MeterAttr source)
{
	uint16		number = meter_events_source(events, source);

	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a resource has events of more than %d sources",
						METER_MAX_SOURCES)));
	return number;
}

/* Add an event: account, dimensions and value are its attributes. */
static void
collect_event(MeterCollected *collected, MeterKind kind,
			  TimestampTz time, const int64 *sequence, MeterAttr source,
			  const MeterAttr *attrs)
{
	MeterEvents *events = &collected->events;
	uint16		number;

	if (!meter_events_add(events, kind, time, attrs))
		meter_too_many_events();
	/* what only says who owns the resource is nobody's who started it */
	number = MeterAttrIsNull(source) ? 0 : source_number(events, source);
	events->events[events->nevents - 1].source = number;
	if (sequence != NULL)
		meter_events_sequence(events, *sequence);
}

/* Add what a snapshot says; `said` is what its row in the log adds, or NULL. */
static void
collect_observation(MeterCollected *collected, MeterStanding standing,
					bool present, TimestampTz time, MeterAttr source,
					const Jsonb *said, const MeterAttr *attrs)
{
	MeterObservation observation;

	memset(&observation, 0, sizeof(observation));
	observation.time = time;
	observation.present = present;
	observation.standing = standing;
	observation.source = source_number(&collected->events, source);
	observation.alive = observation.since = METER_BEGIN;
	observation.tolerance = METER_MINUTE;
	if (said != NULL)
	{
		(void) meter_observation_instant_of((Jsonb *) said, "alive",
											&observation.alive);
		(void) meter_observation_instant_of((Jsonb *) said, "since",
											&observation.since);
		observation.tolerance = meter_observation_tolerance((Jsonb *) said);
	}
	/* whoever wrote it: it cannot know of what comes later */
	observation.since = Min(observation.since, observation.time);
	observation.alive = Min(observation.alive, observation.time);
	if (!meter_observations_add(&collected->events, &observation, attrs))
		meter_too_many_events();
}

/*
 * Add a row of a kind other than a carried state; `sequence` is NULL if it has
 * none.  Returns false if the kind is none of those.
 */
bool
meter_collect_row(MeterCollected *collected, MeterRowKind kind,
				  TimestampTz time, const int64 *sequence, MeterAttr source,
				  const Jsonb *said, const MeterAttr *attrs)
{
	switch (kind)
	{
		case METER_ROW_START:
			collect_event(collected, METER_START, time, sequence, source,
						  attrs);
			return true;
		case METER_ROW_STOP:
			collect_event(collected, METER_STOP, time, sequence, source,
						  attrs);
			return true;
		case METER_ROW_CHANGE:
			collect_event(collected, METER_CHANGE, time, sequence, source,
						  attrs);
			return true;
		case METER_ROW_END:
			collect_event(collected, METER_FINISH, time, sequence, source,
						  attrs);
			return true;
		case METER_ROW_OWNER:
			collect_event(collected, METER_NAMES, time, sequence,
						  METER_NULL_ATTR, attrs);
			return true;
		case METER_ROW_OBSERVED_OWNER:
			collect_event(collected, METER_OBSERVED, time, NULL, source, attrs);
			return true;
		case METER_ROW_LOGGED_PRESENT:
		case METER_ROW_LOGGED_ABSENT:
			collect_observation(collected, METER_LOGGED,
								kind == METER_ROW_LOGGED_PRESENT, time, source,
								said, attrs);
			return true;
		case METER_ROW_CANDIDATE_PRESENT:
		case METER_ROW_CANDIDATE_ABSENT:
			collect_observation(collected, METER_CANDIDATE,
								kind == METER_ROW_CANDIDATE_PRESENT, time,
								source, said, attrs);
			return true;
		case METER_ROW_KNOWN_PRESENT:
		case METER_ROW_KNOWN_ABSENT:
			collect_observation(collected, METER_KNOWN,
								kind == METER_ROW_KNOWN_PRESENT, time, source,
								said, attrs);
			return true;
		case METER_ROW_CARRIED_OPEN:
		case METER_ROW_CARRIED_CLOSED:
		case METER_ROW_ASKED:
		case METER_ROW_MEASURE:
			break;
	}
	return false;
}

/* Keep the name of a source, or NULL, as long as the events. */
static MeterAttr
keep_source(MeterCollected *collected, MeterAttr source)
{
	uint16		number;

	if (MeterAttrIsNull(source))
		return source;
	/* which may move the list of names */
	number = source_number(&collected->events, source);
	return collected->events.sources[number - 1];
}

/* Add the carried state. */
void
meter_collect_carried(MeterCollected *collected, const MeterState *state)
{
	int32		count = collected->events.natts + 1;

	collected->carried = true;
	collected->state = *state;
	collected->state.source = keep_source(collected, state->source);
	collected->state.holder = keep_source(collected, state->holder);
	collected->state.attrs = meter_copy_attrs(CurrentMemoryContext,
											  state->attrs, count);
	collected->state.changed = memcpy(palloc(count * sizeof(int64)),
									  state->changed, count * sizeof(int64));
	if (state->billed != NULL)
		collected->state.billed = meter_copy_attrs(CurrentMemoryContext,
												   state->billed, count);
}

/* Return the timeline of what was collected. */
MeterTimeline *
meter_collected_pair(MeterCollected *collected)
{
	return meter_pair(&collected->events,
					  collected->carried ? &collected->state : NULL,
					  METER_LOOK_BACK_FIRST);
}

/* Begin to walk what is collected, in pieces. */
void
meter_collected_begin(MeterCollected *collected, MeterPieces *pieces,
					  const MeterCut *cut)
{
	meter_pieces_begin(pieces, &collected->events,
					   collected->carried ? &collected->state : NULL,
					   METER_LOOK_BACK_FIRST, cut);
}
