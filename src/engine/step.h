/*
 * step.h
 *	  A step: one meter, one transaction.
 */
#ifndef METER_STEP_H
#define METER_STEP_H

#include <signal.h>

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

/* Set by meter_step_expire(), which a signal handler calls. */
extern volatile sig_atomic_t meter_step_expired;

/* For whom a step is made. */
typedef enum MeterStepFor
{
	METER_STEP_NAMED,			/* a person named it: wait for its lock */
	METER_STEP_ALL,				/* a person asked for all: skip locked ones */
	METER_STEP_WORKER			/* skip those that back off, too */
} MeterStepFor;

extern void meter_step_start_clock(void);
extern void meter_step_expire(void);
extern void meter_step_terminated(const char *stream, const char *meter);
extern void meter_step(const char *stream, const char *meter,
					   MeterStepFor whom, MeterStep *step);
extern bool meter_step_make_months(const char *stream, const char *meter,
								   MeterStep *step);
extern void meter_with_months(const char *stream, const char *meter,
							  void (*body) (void *arg), void *arg);
extern void meter_store_settlement(const MeterDefinition *definition,
								   MeterProgress *progress,
								   const MeterProgress *before,
								   int64 usage_rows);

#endif							/* METER_STEP_H */
