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
	bool		lacks_months;	/* nothing was done before these are made */
	bool		more;			/* call again */
	bool		has_watermark;
	TimestampTz watermark;
	int64		usage_rows;
	int64		adjustments;
	int64		late_rows;
	int64		held[METER_NLOGS];	/* rows that came too late */

	/* what the step found, of no use after it */
	int64		safe[METER_NLOGS];	/* arrivals up to it are final */
	TimestampTz noted_at[METER_NLOGS];	/* the watermark when that was noted */
} MeterStep;

#endif							/* METER_STEP_STATE_H */
