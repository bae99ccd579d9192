/*
 * runs.c
 *	  Runs: signs of life and the gaps between them, what a run is billed beside
 *	  its time, and how many began.
 *
 * Pairing builds spans of all the time of a run.  Where signs of life last for
 * some time only, what is billed are the spans less the gaps: they are taken
 * out when spans are final, so that an observation which reaches back finds
 * whole runs.  A sign looks forward only, and each run begins with one; so one
 * list of the stretches with signs of life serves all runs.
 *
 * What a run that ended lacks, and how many began, are marks of the timeline:
 * amounts at instants.  A run that has ended is final, whatever observations
 * are to come, so its mark is.
 *
 * Of the run that is open, a state carries when it began, the last sign of life
 * and the gaps before that: so its length follows at any later instant, and the
 * state holds until the next event.  Where an observation has a run begin before
 * the state, the gaps since then may not be known (meter_runs_unknown).
 */
#include "core/core.h"
#include "core/runs.h"
#include "core/timeline_builder.h"

/* Tell whether a run may be billed more than its time. */
static bool
bills_more(const MeterRuns *runs)
{
	return runs->rules->increment > 0 || runs->rules->minimum > 0;
}

/* Make room for one more stretch. */
static void
make_room(MeterRuns *runs)
{
	if (runs->nlives < runs->maxlives)
		return;
	runs->maxlives = Max(4, 2 * runs->maxlives);
	runs->lives = meter_grow(runs->lives, runs->maxlives * sizeof(MeterLive));
}

/*
 * Begin with what is carried in the state, and the label of the run that is
 * open in it.  Without rules nothing else may be called.
 */
void
meter_runs_begin(MeterRuns *runs, const MeterRunRules *rules,
				 MeterTimelineBuilder *builder, MeterState *state, int32 label)
{
	int32		natts = builder->timeline->natts;
	int64		upto;
	int32		i;

	memset(runs, 0, sizeof(*runs));
	runs->known_from = METER_BEGIN;
	runs->rules = rules;
	runs->builder = builder;
	runs->state = state;
	runs->billed = label;
	if (rules == NULL)
		return;
	if (state->open)
		runs->gaps = state->gaps;
	if (rules->liveness == 0)
		return;
	runs->billed_attrs = palloc((natts + 1) * sizeof(MeterAttr));
	for (i = 0; !state->open && i <= natts; i++)
		runs->known_from = Max(runs->known_from, state->changed[i]);
	if (state->sign == METER_BEGIN)
		return;
	runs->known_from = Max(runs->known_from, state->sign);
	upto = meter_lasts_until(state->sign, rules->liveness);
	make_room(runs);
	runs->lives[0].from = METER_BEGIN;
	runs->lives[0].to = upto;
	runs->nlives = 1;
	/* what has changed in a gap was not billed */
	if (state->open && state->billed != NULL)
	{
		runs->lives[0].from = upto;
		runs->known_from = METER_END;
		runs->billed = meter_build_label(builder, state->billed);
	}
}

/* Take a sign of life, which may lie before others. */
void
meter_runs_sign(MeterRuns *runs, int64 time)
{
	MeterLive  *lives;
	int64		to;
	int32		i = runs->nlives;

	if (runs->rules->liveness == 0)
		return;
	runs->state->sign = Max(runs->state->sign, time);
	to = meter_lasts_until(time, runs->rules->liveness);
	make_room(runs);
	lives = runs->lives;
	while (i > 0 && lives[i - 1].from > time)
		i--;
	if (i > 0 && lives[i - 1].to >= time)
	{
		i--;
		lives[i].to = Max(lives[i].to, to);
	}
	else
	{
		memmove(lives + i + 1, lives + i,
				(runs->nlives - i) * sizeof(MeterLive));
		lives[i].from = time;
		lives[i].to = to;
		runs->nlives++;
	}
	while (i + 1 < runs->nlives && lives[i + 1].from <= lives[i].to)
	{
		lives[i].to = Max(lives[i].to, lives[i + 1].to);
		runs->nlives--;
		memmove(lives + i + 1, lives + i + 2,
				(runs->nlives - i - 1) * sizeof(MeterLive));
	}
}

/*
 * Return how much of [from, to) are gaps, from the end of the first stretch on.
 */
static int64
gaps_in(const MeterRuns *runs, int64 from, int64 to)
{
	int64		gaps = 0;
	int32		i;

	for (i = runs->nlives - 1; i >= 0 && from < to; i--)
	{
		int64		begin = Max(runs->lives[i].to, from);

		if (begin < to)
			gaps += to - begin;
		to = Min(to, runs->lives[i].from);
	}
	return gaps;
}

/* Tell whether any of [from, to) is billed. */
static bool
any_billed(const MeterRuns *runs, int64 from, int64 to)
{
	int32		i;

	if (from >= to || runs->rules->liveness == 0)
		return from < to;
	for (i = runs->nlives - 1; i >= 0 && runs->lives[i].to > from; i--)
	{
		if (Max(runs->lives[i].from, from) < Min(runs->lives[i].to, to))
			return true;
	}
	return false;
}

/* Let a run begin that is open from then on. */
void
meter_runs_open(MeterRuns *runs, int64 since)
{
	runs->gaps = 0;
	runs->billed = -1;
	meter_runs_sign(runs, since);
}

/*
 * Tell whether it is not known how much of a run was billed that an observation
 * has begin at an instant of the past.
 */
bool
meter_runs_unknown(const MeterRuns *runs, int64 since)
{
	return runs->rules->liveness > 0 && bills_more(runs) &&
		since < runs->known_from;
}

/*
 * Return the label billed last in the open run before an instant, or -1.  The
 * span that goes on has the label -1 if there is none.
 */
static int32
billed_last(const MeterRuns *runs, int64 before, const MeterSpan *current)
{
	const MeterTimeline *timeline = runs->builder->timeline;
	int64		since = runs->state->since;
	int32		i;

	if (current->label >= 0 &&
		any_billed(runs, Max(current->begin, since), before))
		return current->label;
	for (i = timeline->nspans - 1;
		 i >= 0 && timeline->spans[i].end > since; i--)
	{
		const MeterSpan *span = &timeline->spans[i];

		if (any_billed(runs, Max(span->begin, since), Min(span->end, before)))
			return span->label;
	}
	return runs->billed;
}

/* Return what is missing to what a run of a length is billed. */
static int64
missing(const MeterRunRules *rules, int64 length)
{
	int64		rest = rules->increment > 0 ? length % rules->increment : 0;

	return Max(rest == 0 ? 0 : rules->increment - rest,
			   rules->minimum - length);
}

/* Let the open run end. */
void
meter_runs_close(MeterRuns *runs, int64 end, const MeterSpan *current)
{
	int64		since = runs->state->since;
	int64		length;
	int64		more;
	int32		label;

	if (!bills_more(runs))
		return;
	/* what begins later does so after the carried state */
	runs->known_from = METER_BEGIN;
	length = end - since - runs->gaps - gaps_in(runs, since, end);
	if (length <= 0)
		return;
	more = missing(runs->rules, length);
	label = billed_last(runs, end, current);
	if (more > 0 && label >= 0)
		meter_build_mark(runs->builder, end, label, more);
}

/* Count runs that began at an instant, with a label. */
void
meter_runs_count(MeterRuns *runs, int64 time, int32 label, int32 count)
{
	if (runs->rules->counts && count > 0)
		meter_build_mark(runs->builder, time, label, count);
}

/* Return the label of the open run at an instant. */
int32
meter_runs_label_at(const MeterRuns *runs, int64 time,
					const MeterSpan *current)
{
	const MeterTimeline *timeline = runs->builder->timeline;
	int32		i;

	if (current->begin <= time || timeline->nspans == 0)
		return current->label;
	for (i = timeline->nspans - 1; i > 0 && timeline->spans[i].begin > time;)
		i--;
	return timeline->spans[i].label;
}

/* Fill in what the state carries of the open run. */
void
meter_runs_carry(MeterRuns *runs, const MeterSpan *current)
{
	const MeterTimeline *timeline = runs->builder->timeline;
	int32		natts = timeline->natts;
	MeterState *state = runs->state;
	int32		label = -1;

	state->gaps = 0;
	state->billed = NULL;
	if (!state->open || runs->rules->liveness == 0)
		return;
	state->gaps = runs->gaps + gaps_in(runs, state->since, state->sign);
	if (!any_billed(runs, Max(current->begin, state->since), METER_END))
		label = billed_last(runs, METER_END, current);
	if (label < 0 || label == current->label)
		return;
	if (natts > 0)
		memcpy(runs->billed_attrs,
			   timeline->keys + (size_t) timeline->labels[label].key * natts,
			   natts * sizeof(MeterAttr));
	runs->billed_attrs[natts] = meter_timeline_value(timeline, label);
	state->billed = runs->billed_attrs;
}

/* Append a span to those that are billed. */
static void
add_span(MeterRuns *runs, int32 *count, int64 begin, int64 end, int32 label)
{
	if (*count == runs->maxspans)
	{
		runs->maxspans = Max(8, 2 * runs->maxspans);
		runs->spans = meter_grow(runs->spans,
								 runs->maxspans * sizeof(MeterSpan));
	}
	runs->spans[*count].begin = begin;
	runs->spans[*count].end = end;
	runs->spans[*count].label = label;
	(*count)++;
}

/*
 * Return what is billed of the first spans of the timeline, which are final,
 * and how many spans that is.
 */
const MeterSpan *
meter_runs_spans(MeterRuns *runs, int32 *count)
{
	const MeterTimeline *timeline = runs->builder->timeline;
	int32		n = 0;
	int32		live = 0;
	int32		i;
	int32		j;

	if (runs->rules->liveness == 0)
		return timeline->spans;
	for (i = 0; i < *count; i++)
	{
		const MeterSpan *span = &timeline->spans[i];

		while (live < runs->nlives && runs->lives[live].to <= span->begin)
			live++;
		for (j = live;
			 j < runs->nlives && runs->lives[j].from < span->end; j++)
		{
			int64		begin = Max(runs->lives[j].from, span->begin);
			int64		end = Min(runs->lives[j].to, span->end);

			if (begin < end)
				add_span(runs, &n, begin, end, span->label);
		}
	}
	*count = n;
	return runs->spans;
}

/*
 * The first spans of the timeline are about to be taken out.  What is before
 * `upto` is not asked for any more.
 */
void
meter_runs_leave(MeterRuns *runs, int32 count, int64 upto)
{
	const MeterTimeline *timeline = runs->builder->timeline;
	int64		since = runs->state->since;
	int32		i;

	if (runs->state->open)
	{
		for (i = count - 1; i >= 0 && timeline->spans[i].end > since; i--)
		{
			const MeterSpan *span = &timeline->spans[i];

			if (!any_billed(runs, Max(span->begin, since), span->end))
				continue;
			runs->billed = span->label;
			break;
		}
	}
	for (i = 0; i + 1 < runs->nlives && runs->lives[i + 1].from <= upto;)
		i++;
	if (i == 0)
		return;
	if (runs->state->open)
		runs->gaps += gaps_in(runs, since, runs->lives[i].from);
	runs->nlives -= i;
	memmove(runs->lives, runs->lives + i, runs->nlives * sizeof(MeterLive));
}

/*
 * Take the gaps out of the spans of a timeline that is complete, and note them
 * in it.
 */
void
meter_runs_find_gaps(const MeterRuns *runs)
{
	MeterTimeline *timeline = runs->builder->timeline;
	MeterRuns	gaps = *runs;
	MeterRuns	spans = *runs;
	MeterLive  *between;
	int32		i;

	if (runs->rules->liveness == 0 || timeline->nspans == 0)
		return;
	/* nothing runs before the first sign of life */
	between = meter_grow(NULL, Max(runs->nlives, 1) * sizeof(MeterLive));
	for (i = 0; i < runs->nlives; i++)
	{
		between[i].from = runs->lives[i].to;
		between[i].to = i + 1 < runs->nlives ? runs->lives[i + 1].from :
			METER_END;
	}
	gaps.lives = between;
	gaps.spans = spans.spans = NULL;
	gaps.maxspans = spans.maxspans = 0;
	timeline->ngaps = timeline->nspans;
	timeline->gaps = meter_runs_spans(&gaps, &timeline->ngaps);
	timeline->spans = (MeterSpan *) meter_runs_spans(&spans, &timeline->nspans);
	pfree(between);
}
