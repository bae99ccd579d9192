/*
 * event_usage.h
 *	  Advancing: one bounded step of one meter is one transaction.
 */
#ifndef METER_EVENT_USAGE_H
#define METER_EVENT_USAGE_H

#include "meter.h"

#include <signal.h>

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
} MeterStep;

/* Set by a signal: the step under way took longer than it may. */
extern volatile sig_atomic_t meter_step_expired;

extern void meter_step(const char *stream, const char *meter,
					   bool skip_locked, MeterStep *step);
extern double meter_count_periods(const MeterDefinition *definition,
								  TimestampTz from, TimestampTz to);
extern bool meter_first_watermark(MeterDefinition *definition);
extern void meter_hold_late_rows(const MeterDefinition *definition,
								 int64 safe);
extern char *meter_newly_named(MeterDefinition *definition, TimestampTz end);
extern void meter_tell_held(const MeterDefinition *definition);
extern const char *meter_late_from(const MeterDefinition *definition);
extern void meter_note_voids(const MeterDefinition *definition, int64 after,
							 int64 upto);
extern int64 meter_recompute(MeterDefinition *definition, const char *touched,
							 int64 safe, TimestampTz horizon,
							 bool write_states);
extern void meter_store_settlement(MeterDefinition *definition,
								   int64 usage_rows);
extern List *meter_active_meters(void);

#endif							/* METER_EVENT_USAGE_H */
