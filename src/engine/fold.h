/*
 * fold.h
 *	  The fold: one pass from the log and the states to the ledger and the new
 *	  states.
 */
#ifndef METER_FOLD_H
#define METER_FOLD_H

#include "datatype/timestamp.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/step_state.h"

extern bool meter_fold_settle(const MeterDefinition *definition,
							  MeterProgress *progress, TimestampTz end,
							  MeterStep *step);

#endif							/* METER_FOLD_H */
