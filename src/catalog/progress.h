/*
 * progress.h
 *	  Progress: how far a meter has come, as the catalog has it.
 */
#ifndef METER_PROGRESS_H
#define METER_PROGRESS_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "types/transaction_id.h"

/* How far a meter has looked at a log: see position.c. */
typedef struct MeterLogProgress
{
	int64		position;
	int64		position_before;	/* before what this step has looked at */
	int64		read_arrival;	/* of the last row up to the position */
	TimestampTz position_watermark; /* DT_NOBEGIN: nothing is held */
	int64		held_after;		/* arrivals up to it are never held */
	bool		has_note;
	int64		note_bound;
	Datum		note_writers;	/* text[] */
	TimestampTz note_server;
	TimestampTz note_watermark; /* DT_NOBEGIN: none */
	int64		clock_position;
} MeterLogProgress;

/* How many states a meter carries. */
typedef struct MeterStateCounts
{
	int64		running;		/* resources that run; of a counter, readings */
	int64		all;			/* states, and readings of counters */
} MeterStateCounts;

/* How far a meter has come.  A meter of events leaves the measure log alone. */
typedef struct MeterProgress
{
	bool		has_watermark;
	TimestampTz watermark;
	TimestampTz settled_from;	/* the watermark before this step, or the
								 * first one; DT_NOEND: none yet */
	bool		has_event_clock;
	TimestampTz event_clock;
	TimestampTz first_clock;	/* how far the clock was in the beginning;
								 * DT_NOBEGIN: not known, or not asked for */
	int64		settlement;
	TimestampTz ledger_until;	/* DT_NOBEGIN: the ledger had nothing */
	MeterStateCounts carried;	/* as they were written */
	int			failures;
	MeterIdRange written;		/* usage, since the last settlement */
	const char *last_step;		/* jsonb: what the step did; NULL: nothing to
								 * tell */
	bool		retry_later;	/* workers leave the meter alone for now */
	int			halvings;		/* that make its steps smaller */
	bool		whole_steps;	/* who asks for a step has bounded it */
	MeterLogProgress logs[METER_NLOGS];
} MeterProgress;

extern MeterProgress *meter_load_progress(const MeterDefinition *definition);
extern TimestampTz meter_lateness_from(const MeterProgress *progress);
extern int64 meter_known_to_count(const MeterProgress *progress, MeterLog log);
extern int	meter_step_rows(const MeterProgress *progress);
extern bool meter_progress_differs(const MeterProgress *a,
								   const MeterProgress *b);
extern void meter_store_progress(const MeterDefinition *definition,
								 const MeterProgress *progress,
								 bool wrote_usage);
extern void meter_store_state_counts(const MeterDefinition *definition,
									 const MeterProgress *progress);
extern void meter_create_progress(const MeterDefinition *definition);
extern void meter_forget_progress(const char *stream, const char *meter);
extern void meter_hold_nothing(const char *stream, const char *meter);
extern void meter_forget_notes(const char *stream);
extern void meter_greatest_positions(const char *stream,
									 int64 positions[METER_NLOGS]);
extern void meter_note_ledger(const char *stream, const char *name);

#endif							/* METER_PROGRESS_H */
