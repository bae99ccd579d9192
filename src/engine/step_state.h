/*
 * step_state.h
 *	  What one step finds and does.
 */
#ifndef METER_STEP_STATE_H
#define METER_STEP_STATE_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"

/* What a step did. */
typedef struct MeterStep
{
	bool		skipped;		/* locked by another, backing off, or gone */
	bool		failed;
	bool		more;			/* call again */
	bool		has_watermark;
	TimestampTz watermark;
	int64		usage_rows;
	int64		adjustments;
	int64		late_rows;

	/* what the step found, of no use after it */
	int64		safe[METER_NLOGS];	/* arrivals up to it are final */
	TimestampTz noted_at[METER_NLOGS];	/* the watermark when that was noted */
	TimestampTz first_straddler;	/* the earliest measure that reaches over
									 * its end; DT_NOEND: none does */
	bool		all_simple;		/* no measure has to be cut or looks for who
								 * pays */
	bool		walking;		/* the rows of one resource are looked at: an
								 * error is about that resource */
} MeterStep;

#endif							/* METER_STEP_STATE_H */
