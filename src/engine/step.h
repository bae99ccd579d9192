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

extern void meter_step_expire(void);
extern void meter_step(const char *stream, const char *meter,
					   bool skip_locked, MeterStep *step);
extern void meter_store_settlement(const MeterDefinition *definition,
								   MeterProgress *progress,
								   const MeterProgress *before,
								   int64 usage_rows);

#endif							/* METER_STEP_H */
