/*
 * runs.h
 *	  Runs: signs of life and the gaps between them, what a run is billed beside
 *	  its time, and how many began.
 */
#ifndef METER_RUNS_H
#define METER_RUNS_H

#include "core/core.h"
#include "core/timeline_builder.h"

/* What a meter says of runs. */
typedef struct MeterRunRules
{
	int64		liveness;		/* a sign of life lasts so long; 0: for ever */
	int64		increment;		/* a run is billed in whole ones; 0: exactly */
	int64		minimum;		/* each run is billed so much; 0: no less */
	bool		counts;			/* how many runs began is asked for */
} MeterRunRules;

/* A stretch of time with signs of life. */
typedef struct MeterLive
{
	int64		from;
	int64		to;
} MeterLive;

/* What is known of the run that goes on, and of signs of life. */
typedef struct MeterRuns
{
	const MeterRunRules *rules; /* NULL: a run is no more than its time */
	MeterTimelineBuilder *builder;
	MeterState *state;
	int32		nlives;			/* in order, with gaps between them; whatever
								 * runs */
	int32		maxlives;
	MeterLive  *lives;
	int64		gaps;			/* of the open run, before the first of lives
								 * ends */
	int32		billed;			/* the label billed last in the open run, of
								 * what is not in the builder; -1: nothing */
	MeterAttr  *billed_attrs;	/* room for state->billed */
	int64		known_from;		/* what was billed of a run is not known where
								 * an observation has it begin before then */
	int32		maxspans;
	MeterSpan  *spans;			/* see meter_runs_spans() */
} MeterRuns;

extern void meter_runs_begin(MeterRuns *runs, const MeterRunRules *rules,
							 MeterTimelineBuilder *builder, MeterState *state,
							 int32 label);
extern void meter_runs_sign(MeterRuns *runs, int64 time);
extern void meter_runs_open(MeterRuns *runs, int64 since);
extern bool meter_runs_unknown(const MeterRuns *runs, int64 since);
extern void meter_runs_close(MeterRuns *runs, int64 end,
							 const MeterSpan *current);
extern void meter_runs_count(MeterRuns *runs, int64 time, int32 label,
							 int32 count);
extern int32 meter_runs_label_at(const MeterRuns *runs, int64 time,
								 const MeterSpan *current);
extern void meter_runs_carry(MeterRuns *runs, const MeterSpan *current);
extern const MeterSpan *meter_runs_spans(MeterRuns *runs, int32 *count);
extern void meter_runs_leave(MeterRuns *runs, int32 count, int64 upto);
extern void meter_runs_find_gaps(const MeterRuns *runs);

/*
 * Return until when a sign of life lasts.
 */
static inline int64
meter_lasts_until(int64 sign, int64 liveness)
{
	return sign > METER_END - liveness ? METER_END : sign + liveness;
}

#endif							/* METER_RUNS_H */
